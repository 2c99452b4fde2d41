-- feature_histograms: log-gamma histogram of each feature's values.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE feature_histograms (
    codes VARCHAR NOT NULL,
    mask VARCHAR NOT NULL,
    feature INTEGER NOT NULL,
    bin INTEGER NOT NULL,
    count BIGINT NOT NULL
);
