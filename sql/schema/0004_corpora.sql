-- corpora: immutable lists of documents.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE corpora (
    corpus VARCHAR NOT NULL,
    fingerprint VARCHAR NOT NULL,
    documents BIGINT NOT NULL,
    source VARCHAR NOT NULL,
    run VARCHAR NOT NULL
);
