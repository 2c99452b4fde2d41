-- runs: executions of flows.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE runs (
    run VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    flow VARCHAR NOT NULL,
    parameters VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    error VARCHAR,
    started TIMESTAMP NOT NULL,
    ended TIMESTAMP,
    snapshot_before BIGINT NOT NULL,
    snapshot_after BIGINT,
    inputs VARCHAR NOT NULL,
    code_version VARCHAR NOT NULL,
    host VARCHAR NOT NULL
);
