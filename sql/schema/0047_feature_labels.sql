-- feature_labels: how each feature goes with each value of a label, over all documents and within subsets.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE feature_labels (
    codes VARCHAR NOT NULL,
    mask VARCHAR NOT NULL,
    label VARCHAR NOT NULL,
    value VARCHAR NOT NULL,
    subset_by VARCHAR NOT NULL,
    subset VARCHAR NOT NULL,
    level VARCHAR NOT NULL,
    pooling VARCHAR NOT NULL,
    feature INTEGER NOT NULL,
    n_positive BIGINT NOT NULL,
    n_negative BIGINT NOT NULL,
    fires_positive BIGINT NOT NULL,
    fires_negative BIGINT NOT NULL,
    sum_positive DOUBLE NOT NULL,
    sum_negative DOUBLE NOT NULL,
    square_positive DOUBLE NOT NULL,
    square_negative DOUBLE NOT NULL,
    auroc DOUBLE NOT NULL,
    auprc DOUBLE NOT NULL,
    threshold DOUBLE NOT NULL,
    precision DOUBLE NOT NULL,
    recall DOUBLE NOT NULL,
    f1 DOUBLE NOT NULL,
    top_n BIGINT NOT NULL,
    top_positive BIGINT NOT NULL,
    p DOUBLE,
    q DOUBLE,
    n_tests BIGINT NOT NULL,
    run VARCHAR NOT NULL
);
