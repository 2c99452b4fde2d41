-- evaluations: how well dictionaries reconstruct.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE evaluations (
    dictionary VARCHAR NOT NULL,
    tensor VARCHAR NOT NULL,
    mask VARCHAR NOT NULL,
    split VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    value DOUBLE NOT NULL,
    n BIGINT NOT NULL,
    run VARCHAR NOT NULL
);
