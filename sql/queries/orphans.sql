-- orphans: features of codes that match none in other codes: their best partner there is no better than chance.
-- in:  feature_matches, feature_summary; $codes, $others (other codes), $mask text; $q smallest false discovery rate that is no match; $limit
-- out: feature, best_partner (NULL if none is defined), score and null_mean (of its best partner, and of best partners by chance), q, n_fires (NULL without a summary under the mask), density, top_token; most frequent first
WITH best AS (
    SELECT
        CASE best_of WHEN 'a' THEN feature_a ELSE feature_b END AS feature,
        CASE best_of WHEN 'a' THEN feature_b ELSE feature_a END AS best_partner,
        score,
        null_mean,
        q
    FROM feature_matches
    WHERE
        mask = $mask
        AND method = 'activation'
        AND (
            (best_of = 'a' AND codes_a = $codes AND codes_b = $others)
            OR (best_of = 'b' AND codes_b = $codes AND codes_a = $others)
        )
)
SELECT
    b.feature,
    b.best_partner,
    b.score,
    b.null_mean,
    b.q,
    s.n_fires,
    s.density,
    s.top_token
FROM best AS b
LEFT JOIN feature_summary AS s
    ON s.codes = $codes AND s.mask = $mask AND s.feature = b.feature
WHERE b.q IS NULL OR b.q > $q
ORDER BY s.n_fires DESC NULLS LAST, b.feature
LIMIT $limit;
