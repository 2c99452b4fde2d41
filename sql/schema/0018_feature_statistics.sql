-- feature_statistics: how often and how strongly each feature fires.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE feature_statistics (
    codes VARCHAR NOT NULL,
    mask VARCHAR NOT NULL,
    feature INTEGER NOT NULL,
    n_rows BIGINT NOT NULL,
    n_fires BIGINT NOT NULL,
    density DOUBLE NOT NULL,
    mean_active DOUBLE,
    std_active DOUBLE,
    min_active DOUBLE,
    max_active DOUBLE,
    q50_active DOUBLE,
    q90_active DOUBLE,
    q99_active DOUBLE,
    mean_all DOUBLE NOT NULL,
    std_all DOUBLE NOT NULL,
    skew_all DOUBLE,
    kurtosis_all DOUBLE,
    run VARCHAR NOT NULL
);
