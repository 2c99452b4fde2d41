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
                'mean_active',
                'std_active',
                'min_active',
                'max_active',
                'q50_active',
                'q90_active',
                'q99_active',
                'mean_all',
                'std_all',
                'skew_all',
                'kurtosis_all',
                'top_token_count',
                'top_token_lift',
                'lift_token_count',
                'lift_token_lift'
            ) THEN $by
            ELSE error(
                'cannot rank features by ' || $by || '; $by is n_fires, density, mean_active, '
                || 'std_active, min_active, max_active, q50_active, q90_active, q99_active, '
                || 'mean_all, std_all, skew_all, kurtosis_all, top_token_count, top_token_lift, '
                || 'lift_token_count or lift_token_lift'
            )
        END AS ranked_by
),

ranked AS (
    SELECT
        s.feature,
        CASE a.ranked_by
            WHEN 'n_fires' THEN s.n_fires
            WHEN 'density' THEN s.density
            WHEN 'mean_active' THEN s.mean_active
            WHEN 'std_active' THEN s.std_active
            WHEN 'min_active' THEN s.min_active
            WHEN 'max_active' THEN s.max_active
            WHEN 'q50_active' THEN s.q50_active
            WHEN 'q90_active' THEN s.q90_active
            WHEN 'q99_active' THEN s.q99_active
            WHEN 'mean_all' THEN s.mean_all
            WHEN 'std_all' THEN s.std_all
            WHEN 'skew_all' THEN s.skew_all
            WHEN 'kurtosis_all' THEN s.kurtosis_all
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
