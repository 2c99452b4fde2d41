-- rowsets: row axes.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE rowsets (
    rowset VARCHAR NOT NULL,
    corpus VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    tokenizer VARCHAR,
    windowing VARCHAR,
    "window" BIGINT,
    overlap BIGINT,
    rows BIGINT NOT NULL,
    shard_rows BIGINT NOT NULL,
    fingerprint VARCHAR NOT NULL,
    id VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    run VARCHAR NOT NULL
);
