-- tokens: one row a token, or a document, of every rowset.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE tokens (
    rowset VARCHAR NOT NULL,
    "row" BIGINT NOT NULL,
    document BIGINT NOT NULL,
    "window" INTEGER NOT NULL,
    position INTEGER NOT NULL,
    window_position INTEGER NOT NULL,
    token_id INTEGER,
    char_start INTEGER NOT NULL,
    char_stop INTEGER NOT NULL,
    is_special BOOLEAN NOT NULL
);
