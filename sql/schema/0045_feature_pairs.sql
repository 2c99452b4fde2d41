-- feature_pairs: the best partners of each feature among the features that fire with it.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE feature_pairs (
    codes VARCHAR NOT NULL,
    mask VARCHAR NOT NULL,
    level VARCHAR NOT NULL,
    feature_a INTEGER NOT NULL,
    rank BIGINT NOT NULL,
    feature_b INTEGER NOT NULL,
    n BIGINT NOT NULL,
    fires_a BIGINT NOT NULL,
    fires_b BIGINT NOT NULL,
    joint BIGINT NOT NULL,
    sum_a DOUBLE NOT NULL,
    sum_b DOUBLE NOT NULL,
    square_a DOUBLE NOT NULL,
    square_b DOUBLE NOT NULL,
    product DOUBLE NOT NULL,
    decoder_cosine DOUBLE,
    weight DOUBLE,
    redundancy_a DOUBLE,
    p DOUBLE NOT NULL,
    q DOUBLE NOT NULL,
    n_tests BIGINT NOT NULL,
    run VARCHAR NOT NULL
);
