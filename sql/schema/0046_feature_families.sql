-- feature_families: features that fire where a denser one does, as trees.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE feature_families (
    codes VARCHAR NOT NULL,
    mask VARCHAR NOT NULL,
    level VARCHAR NOT NULL,
    family INTEGER NOT NULL,
    round INTEGER NOT NULL,
    feature INTEGER NOT NULL,
    parent INTEGER,
    depth INTEGER NOT NULL,
    n_fires BIGINT NOT NULL,
    share DOUBLE,
    run VARCHAR NOT NULL
);
