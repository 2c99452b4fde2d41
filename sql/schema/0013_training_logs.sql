-- training_logs: what training reported as it went.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE training_logs (
    dictionary VARCHAR NOT NULL,
    step BIGINT NOT NULL,
    tokens BIGINT NOT NULL,
    metric VARCHAR NOT NULL,
    value DOUBLE NOT NULL,
    run VARCHAR NOT NULL
);
