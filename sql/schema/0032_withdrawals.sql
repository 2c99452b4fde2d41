-- withdrawals: documents that were taken back, and what became of what was made of them.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE withdrawals (
    corpus VARCHAR NOT NULL,
    document BIGINT NOT NULL,
    source_id VARCHAR NOT NULL,
    "at" TIMESTAMP NOT NULL,
    reason VARCHAR NOT NULL,
    first_snapshot BIGINT NOT NULL,
    last_snapshot BIGINT NOT NULL,
    removed VARCHAR NOT NULL,
    stale VARCHAR NOT NULL,
    run VARCHAR NOT NULL,
    purged TIMESTAMP
);
