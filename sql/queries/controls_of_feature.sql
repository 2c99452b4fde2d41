-- controls_of_feature: features of the same codes that fire as often as one does: what it must beat to be special.
-- in:  feature_summary; $codes, $mask text; $feature; $limit
-- out: feature, n_fires, density, density_ratio (over that of $feature, within a factor of two), mean_active, max_active, token_entropy, top_token; a fixed random choice of those within the factor, dead features and $feature itself left out, nearest density first
WITH wanted AS (
    SELECT density
    FROM feature_summary
    WHERE codes = $codes AND mask = $mask AND feature = $feature AND n_fires > 0
),

near AS (
    SELECT
        s.feature,
        s.n_fires,
        s.density,
        s.density / w.density AS density_ratio,
        s.mean_active,
        s.max_active,
        s.token_entropy,
        s.top_token
    FROM feature_summary AS s
    INNER JOIN wanted AS w ON s.density BETWEEN w.density / 2 AND w.density * 2
    WHERE s.codes = $codes AND s.mask = $mask AND s.feature <> $feature
),

chosen AS (
    SELECT
        feature,
        n_fires,
        density,
        density_ratio,
        mean_active,
        max_active,
        token_entropy,
        top_token
    FROM near
    ORDER BY md5(feature || ' for ' || $feature), feature
    LIMIT $limit
)
SELECT
    feature,
    n_fires,
    density,
    density_ratio,
    mean_active,
    max_active,
    token_entropy,
    top_token
FROM chosen
ORDER BY abs(ln(density_ratio)), feature;
