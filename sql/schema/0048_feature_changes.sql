-- feature_changes: how much more often the features of one dictionary fire on one corpus than on another.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE feature_changes (
    codes_a VARCHAR NOT NULL,
    codes_b VARCHAR NOT NULL,
    mask VARCHAR NOT NULL,
    feature INTEGER NOT NULL,
    rows_a BIGINT NOT NULL,
    rows_b BIGINT NOT NULL,
    documents_a BIGINT NOT NULL,
    documents_b BIGINT NOT NULL,
    fires_a BIGINT NOT NULL,
    fires_b BIGINT NOT NULL,
    firing_documents_a BIGINT NOT NULL,
    firing_documents_b BIGINT NOT NULL,
    difference DOUBLE NOT NULL,
    standard_error DOUBLE,
    p DOUBLE,
    q DOUBLE,
    n_tests BIGINT NOT NULL,
    run VARCHAR NOT NULL
);
