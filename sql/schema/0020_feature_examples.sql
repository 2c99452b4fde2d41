-- feature_examples: rows that show what a feature does.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE feature_examples (
    codes VARCHAR NOT NULL,
    mask VARCHAR NOT NULL,
    feature INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    rank BIGINT NOT NULL,
    "row" BIGINT NOT NULL,
    value FLOAT NOT NULL
);
