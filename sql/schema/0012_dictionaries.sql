-- dictionaries: learned decompositions.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE dictionaries (
    dictionary VARCHAR NOT NULL,
    method VARCHAR NOT NULL,
    tensor VARCHAR NOT NULL,
    n_features BIGINT NOT NULL,
    width BIGINT NOT NULL,
    config VARCHAR NOT NULL,
    fingerprint VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    sha256 VARCHAR NOT NULL,
    run VARCHAR NOT NULL
);
