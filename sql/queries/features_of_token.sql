-- features_of_token: features that have a token among those they fire on most, or most selectively.
-- in:  feature_tokens, codes_and_sets, vocabulary, feature_statistics; $codes, $mask, $text text: the token as in vocabulary, or without its leading space
-- out: feature, token_id, token, count (firings on it), share (of the feature's firings, in [0, 1]), mean (value on it), lift (share over the token's share of all rows), count_rank, lift_rank and mean_rank among the feature's tokens (NULL if not kept in that ranking; by lift and mean, only with 5 firings on it); largest lift first
WITH wanted AS (
    SELECT
        v.token_id,
        v.text
    FROM codes_and_sets AS c
    INNER JOIN vocabulary AS v USING (tokenizer)
    WHERE c.codes = $codes AND (v.text = $text OR ltrim(v.text) = $text)
),

found AS (
    SELECT
        t.feature,
        t.token_id,
        w.text AS token,
        max(t.count) AS count,
        max(t.mean) AS mean,
        max(t.lift) AS lift,
        max(t.rank) FILTER (WHERE t.kind = 'count') AS count_rank,
        max(t.rank) FILTER (WHERE t.kind = 'lift') AS lift_rank,
        max(t.rank) FILTER (WHERE t.kind = 'mean') AS mean_rank
    FROM feature_tokens AS t
    INNER JOIN wanted AS w USING (token_id)
    WHERE t.codes = $codes AND t.mask = $mask AND t.kind IN ('count', 'lift', 'mean')
    GROUP BY t.feature, t.token_id, w.text
)
SELECT
    f.feature,
    f.token_id,
    f.token,
    f.count,
    f.count / s.n_fires AS share,
    f.mean,
    f.lift,
    f.count_rank,
    f.lift_rank,
    f.mean_rank
FROM found AS f
LEFT JOIN feature_statistics AS s
    ON s.codes = $codes AND s.mask = $mask AND s.feature = f.feature
ORDER BY f.lift DESC, f.count DESC, f.feature, f.token_id;
