-- feature_token_sets: whether a feature's decoder direction raises or lowers a whole set of tokens.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE feature_token_sets (
    dictionary VARCHAR NOT NULL,
    feature INTEGER NOT NULL,
    token_set VARCHAR NOT NULL,
    n_set BIGINT NOT NULL,
    n_tokens BIGINT NOT NULL,
    score DOUBLE,
    random_score DOUBLE NOT NULL,
    p DOUBLE NOT NULL,
    q DOUBLE NOT NULL,
    n_tests BIGINT NOT NULL,
    run VARCHAR NOT NULL
);
