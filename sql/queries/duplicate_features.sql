-- duplicate_features: pairs of features of one dictionary whose decoder directions are nearer than random ones would be.
-- in:  feature_summary; $codes, $mask text; $limit
-- out: feature, twin (the other one), cosine (of decoder directions), p (that the best of as many random directions is as near), is_mutual (the twin's nearest is this feature; such a pair has one row, at its smaller feature), is_duplicate, n_fires and twin_fires, top_token and twin_token; largest cosine first
SELECT
    a.feature,
    a.nearest_decoder AS twin,
    a.nearest_decoder_cosine AS cosine,
    a.nearest_decoder_p AS p,
    coalesce(b.nearest_decoder = a.feature, FALSE) AS is_mutual,
    a.is_duplicate,
    a.n_fires,
    b.n_fires AS twin_fires,
    a.top_token,
    b.top_token AS twin_token
FROM feature_summary AS a
LEFT JOIN feature_summary AS b
    ON b.codes = $codes AND b.mask = $mask AND b.feature = a.nearest_decoder
WHERE
    a.codes = $codes
    AND a.mask = $mask
    AND a.nearest_decoder_p < 0.05
    AND NOT coalesce(b.nearest_decoder = a.feature AND b.feature < a.feature, FALSE)
ORDER BY cosine DESC, a.feature
LIMIT $limit;
