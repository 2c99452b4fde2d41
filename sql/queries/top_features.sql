-- top_features: the first $limit features of codes by one column of feature_summary.
-- in:  feature_summary; $codes, $mask text; $by text, a numeric column of feature_summary; $order text, 'desc' or 'asc'; $limit
-- out: feature, by_value (of the column $by), n_fires, density, mean_active, max_active, top_token, lift_token; features without a value come last, ties in order of feature
WITH asked AS (
    SELECT
        CASE
            WHEN $order IN ('asc', 'desc') THEN $order
            ELSE error('cannot order ' || $order || '; $order is asc or desc')
        END AS direction,
        CASE
            WHEN $by IN (
                'n_fires',
                'density',
                'n_documents',
                'n_documents_fires',
                'document_density',
                'consistent_activation',
                'gini_documents',
                'n_sources_fires',
                'gini_sources',
                'mean_active',
                'std_active',
                'min_active',
                'max_active',
                'q50_active',
                'q90_active',
                'q99_active',
                'skew_active',
                'kurtosis_active',
                'mean_all',
                'std_all',
                'skew_all',
                'kurtosis_all',
                'q90_all',
                'q99_all',
                'q999_all',
                'n_tokens',
                'token_entropy',
                'token_bits',
                'top_token_share',
                'previous_token_share',
                'next_token_share',
                'space_share',
                'capital_share',
                'digit_share',
                'punctuation_share',
                'position_bits',
                'position_peak',
                'position_peak_share',
                'position_lift',
                'burstiness',
                'decoder_norm',
                'encoder_decoder_cosine',
                'nearest_decoder_cosine',
                'nearest_decoder_p',
                'participation_ratio',
                'logit_skew',
                'logit_kurtosis',
                'top_token_count',
                'top_token_lift',
                'lift_token_count',
                'lift_token_lift'
            ) THEN $by
            ELSE error(
                'cannot rank features by ' || $by || '; $by is '
                || 'n_fires, density, n_documents, n_documents_fires, document_density, '
                || 'consistent_activation, gini_documents, n_sources_fires, gini_sources, '
                || 'mean_active, std_active, min_active, '
                || 'max_active, q50_active, q90_active, q99_active, skew_active, kurtosis_active, '
                || 'mean_all, std_all, skew_all, kurtosis_all, q90_all, q99_all, q999_all, '
                || 'n_tokens, token_entropy, token_bits, top_token_share, previous_token_share, '
                || 'next_token_share, space_share, capital_share, digit_share, punctuation_share, '
                || 'position_bits, position_peak, position_peak_share, position_lift, burstiness, '
                || 'decoder_norm, encoder_decoder_cosine, nearest_decoder_cosine, '
                || 'nearest_decoder_p, participation_ratio, logit_skew, logit_kurtosis, '
                || 'top_token_count, top_token_lift, lift_token_count or lift_token_lift'
            )
        END AS ranked_by
),

ranked AS (
    SELECT
        s.feature,
        CASE a.ranked_by
            WHEN 'n_fires' THEN s.n_fires
            WHEN 'density' THEN s.density
            WHEN 'n_documents' THEN s.n_documents
            WHEN 'n_documents_fires' THEN s.n_documents_fires
            WHEN 'document_density' THEN s.document_density
            WHEN 'consistent_activation' THEN s.consistent_activation
            WHEN 'gini_documents' THEN s.gini_documents
            WHEN 'n_sources_fires' THEN s.n_sources_fires
            WHEN 'gini_sources' THEN s.gini_sources
            WHEN 'mean_active' THEN s.mean_active
            WHEN 'std_active' THEN s.std_active
            WHEN 'min_active' THEN s.min_active
            WHEN 'max_active' THEN s.max_active
            WHEN 'q50_active' THEN s.q50_active
            WHEN 'q90_active' THEN s.q90_active
            WHEN 'q99_active' THEN s.q99_active
            WHEN 'skew_active' THEN s.skew_active
            WHEN 'kurtosis_active' THEN s.kurtosis_active
            WHEN 'mean_all' THEN s.mean_all
            WHEN 'std_all' THEN s.std_all
            WHEN 'skew_all' THEN s.skew_all
            WHEN 'kurtosis_all' THEN s.kurtosis_all
            WHEN 'q90_all' THEN s.q90_all
            WHEN 'q99_all' THEN s.q99_all
            WHEN 'q999_all' THEN s.q999_all
            WHEN 'n_tokens' THEN s.n_tokens
            WHEN 'token_entropy' THEN s.token_entropy
            WHEN 'token_bits' THEN s.token_bits
            WHEN 'top_token_share' THEN s.top_token_share
            WHEN 'previous_token_share' THEN s.previous_token_share
            WHEN 'next_token_share' THEN s.next_token_share
            WHEN 'space_share' THEN s.space_share
            WHEN 'capital_share' THEN s.capital_share
            WHEN 'digit_share' THEN s.digit_share
            WHEN 'punctuation_share' THEN s.punctuation_share
            WHEN 'position_bits' THEN s.position_bits
            WHEN 'position_peak' THEN s.position_peak
            WHEN 'position_peak_share' THEN s.position_peak_share
            WHEN 'position_lift' THEN s.position_lift
            WHEN 'burstiness' THEN s.burstiness
            WHEN 'decoder_norm' THEN s.decoder_norm
            WHEN 'encoder_decoder_cosine' THEN s.encoder_decoder_cosine
            WHEN 'nearest_decoder_cosine' THEN s.nearest_decoder_cosine
            WHEN 'nearest_decoder_p' THEN s.nearest_decoder_p
            WHEN 'participation_ratio' THEN s.participation_ratio
            WHEN 'logit_skew' THEN s.logit_skew
            WHEN 'logit_kurtosis' THEN s.logit_kurtosis
            WHEN 'top_token_count' THEN s.top_token_count
            WHEN 'top_token_lift' THEN s.top_token_lift
            WHEN 'lift_token_count' THEN s.lift_token_count
            WHEN 'lift_token_lift' THEN s.lift_token_lift
        END::DOUBLE AS by_value,
        a.direction,
        s.n_fires,
        s.density,
        s.mean_active,
        s.max_active,
        s.top_token,
        s.lift_token
    FROM asked AS a
    LEFT JOIN feature_summary AS s ON s.codes = $codes AND s.mask = $mask
)
SELECT
    feature,
    by_value,
    n_fires,
    density,
    mean_active,
    max_active,
    top_token,
    lift_token
FROM ranked
WHERE feature IS NOT NULL
ORDER BY
    CASE direction WHEN 'asc' THEN by_value ELSE -by_value END NULLS LAST,
    feature
LIMIT $limit;
