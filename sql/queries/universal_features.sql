-- universal_features: features of codes that are the mutual best match of a feature in others, by how many others and how surely.
-- in:  feature_matches, feature_summary; $codes, $mask text; $q largest false discovery rate; $limit
-- out: feature, n_codes (other codes with such a match), partners (list of codes and features, best first), mean_score, least_score (correlations), worst_q, n_fires and density (NULL without a summary under the mask), top_token
WITH both_sides AS (
    SELECT
        codes_a AS codes,
        feature_a AS feature,
        codes_b AS other_codes,
        feature_b AS other_feature,
        score,
        q
    FROM feature_matches
    WHERE mask = $mask AND method = 'activation' AND is_mutual
    UNION ALL
    SELECT
        codes_b,
        feature_b,
        codes_a,
        feature_a,
        score,
        q
    FROM feature_matches
    WHERE mask = $mask AND method = 'activation' AND is_mutual
),

-- Each direction of a mutual match is tested, and both have to hold.
pairs AS (
    SELECT
        feature,
        other_codes,
        other_feature,
        any_value(score) AS score,
        max(q) AS q
    FROM both_sides
    WHERE codes = $codes
    GROUP BY feature, other_codes, other_feature
    HAVING max(q) <= $q
),

universal AS (
    SELECT
        feature,
        count(DISTINCT other_codes) AS n_codes,
        list(other_codes || ' ' || other_feature ORDER BY score DESC, other_codes) AS partners,
        avg(score) AS mean_score,
        min(score) AS least_score,
        max(q) AS worst_q
    FROM pairs
    GROUP BY feature
)
SELECT
    u.feature,
    u.n_codes,
    u.partners,
    u.mean_score,
    u.least_score,
    u.worst_q,
    s.n_fires,
    s.density,
    s.top_token
FROM universal AS u
LEFT JOIN feature_summary AS s
    ON s.codes = $codes AND s.mask = $mask AND s.feature = u.feature
ORDER BY u.n_codes DESC, u.mean_score DESC, u.feature
LIMIT $limit;
