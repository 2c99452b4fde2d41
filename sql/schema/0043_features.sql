-- features: what the weights of a dictionary say of each feature.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE features (
    dictionary VARCHAR NOT NULL,
    feature INTEGER NOT NULL,
    decoder_norm DOUBLE,
    encoder_norm DOUBLE,
    encoder_decoder_cosine DOUBLE,
    encoder_bias DOUBLE,
    threshold DOUBLE,
    decoder_bias_cosine DOUBLE,
    nearest_decoder INTEGER,
    nearest_decoder_cosine DOUBLE,
    nearest_decoder_p DOUBLE,
    participation_ratio DOUBLE,
    outlier_share DOUBLE,
    logit_mean DOUBLE,
    logit_std DOUBLE,
    logit_skew DOUBLE,
    logit_kurtosis DOUBLE,
    logit_max DOUBLE,
    logit_entropy DOUBLE,
    run VARCHAR NOT NULL
);
