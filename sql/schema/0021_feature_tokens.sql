-- feature_tokens: tokens that a feature fires on.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE feature_tokens (
    codes VARCHAR NOT NULL,
    mask VARCHAR NOT NULL,
    feature INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    rank BIGINT NOT NULL,
    token_id INTEGER NOT NULL,
    count BIGINT NOT NULL,
    mean DOUBLE NOT NULL,
    lift DOUBLE NOT NULL
);
