-- feature_matches: the best partner of each feature in other codes.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE feature_matches (
    codes_a VARCHAR NOT NULL,
    feature_a INTEGER,
    codes_b VARCHAR NOT NULL,
    feature_b INTEGER,
    mask VARCHAR NOT NULL,
    method VARCHAR NOT NULL,
    best_of VARCHAR NOT NULL,
    score DOUBLE,
    margin DOUBLE,
    n_fires BIGINT,
    n_joint BIGINT,
    null_mean DOUBLE,
    null_high DOUBLE,
    p DOUBLE,
    q DOUBLE,
    is_mutual BOOLEAN NOT NULL,
    run VARCHAR NOT NULL
);
