-- feature_logits: tokens that a feature's decoder direction raises or lowers most.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE feature_logits (
    dictionary VARCHAR NOT NULL,
    feature INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    rank BIGINT NOT NULL,
    token_id INTEGER NOT NULL,
    effect DOUBLE NOT NULL
);
