-- vocabulary: text of every token id.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE vocabulary (
    tokenizer VARCHAR NOT NULL,
    token_id INTEGER NOT NULL,
    text VARCHAR NOT NULL
);
