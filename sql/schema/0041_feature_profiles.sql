-- feature_profiles: on what tokens and at what positions each feature fires.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE feature_profiles (
    codes VARCHAR NOT NULL,
    mask VARCHAR NOT NULL,
    feature INTEGER NOT NULL,
    n_tokens BIGINT,
    token_entropy DOUBLE,
    token_bits DOUBLE,
    top_token_share DOUBLE,
    previous_entropy DOUBLE,
    previous_token_share DOUBLE,
    next_entropy DOUBLE,
    next_token_share DOUBLE,
    space_share DOUBLE,
    capital_share DOUBLE,
    digit_share DOUBLE,
    punctuation_share DOUBLE,
    position_bits DOUBLE,
    position_peak BIGINT,
    position_peak_share DOUBLE,
    position_lift DOUBLE,
    run VARCHAR NOT NULL
);
