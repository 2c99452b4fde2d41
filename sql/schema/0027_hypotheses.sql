-- hypotheses: features that may go with a label, and what each split says.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE hypotheses (
    run VARCHAR NOT NULL,
    target VARCHAR NOT NULL,
    level VARCHAR NOT NULL,
    codes VARCHAR NOT NULL,
    mask VARCHAR NOT NULL,
    pooling VARCHAR NOT NULL,
    feature INTEGER NOT NULL,
    selected_by VARCHAR NOT NULL,
    statement VARCHAR NOT NULL,
    split VARCHAR NOT NULL,
    correlation DOUBLE,
    separation DOUBLE,
    effect DOUBLE,
    ci_low DOUBLE,
    ci_high DOUBLE,
    n BIGINT NOT NULL,
    n_groups BIGINT NOT NULL,
    n_tests BIGINT NOT NULL,
    p DOUBLE,
    p_permutation DOUBLE,
    p_family DOUBLE,
    p_bonferroni DOUBLE,
    q DOUBLE,
    look INTEGER NOT NULL
);
