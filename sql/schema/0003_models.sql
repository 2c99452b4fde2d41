-- models: models whose activations the lake holds.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE models (
    model VARCHAR NOT NULL,
    fingerprint VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    architecture VARCHAR NOT NULL,
    layers BIGINT NOT NULL,
    width BIGINT NOT NULL,
    vocabulary BIGINT NOT NULL,
    run VARCHAR NOT NULL
);
