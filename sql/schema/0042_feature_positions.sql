-- feature_positions: where in its document each feature fires.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE feature_positions (
    codes VARCHAR NOT NULL,
    mask VARCHAR NOT NULL,
    feature INTEGER NOT NULL,
    position_start BIGINT NOT NULL,
    position_stop BIGINT NOT NULL,
    n_rows BIGINT NOT NULL,
    n_fires BIGINT NOT NULL
);
