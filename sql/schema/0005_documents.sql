-- documents: texts.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE documents (
    corpus VARCHAR NOT NULL,
    document BIGINT NOT NULL,
    source_id VARCHAR NOT NULL,
    text VARCHAR NOT NULL
);
