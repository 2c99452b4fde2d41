-- features_of_token_set: the features that raise or lower a set of tokens most, more than random directions do.
-- in:  feature_token_sets, feature_logits, codes_and_sets, vocabulary; $codes, $token_set text; $q; $limit
-- out: feature; effect (raises or lowers), score in [-1, 1], random_score (what 99 % of random directions stay below), q, n_tests; n_set of n_tokens; first_tokens: those that it raises, or lowers, most
SELECT
    s.feature,
    if(s.score > 0, 'raises', 'lowers') AS effect,
    s.score,
    s.random_score,
    s.q,
    s.n_tests,
    s.n_set,
    s.n_tokens,
    list(v.text ORDER BY l.rank) FILTER (WHERE l.rank <= 5) AS first_tokens
FROM codes_and_sets AS c
INNER JOIN feature_token_sets AS s ON s.dictionary = c.dictionary
LEFT JOIN feature_logits AS l
    ON
        l.dictionary = s.dictionary
        AND l.feature = s.feature
        AND l.kind = if(s.score > 0, 'top', 'bottom')
LEFT JOIN vocabulary AS v ON v.tokenizer = c.tokenizer AND v.token_id = l.token_id
WHERE
    c.codes = $codes
    AND s.token_set = $token_set
    AND s.q <= $q
    AND abs(s.score) > s.random_score
GROUP BY s.feature, s.score, s.random_score, s.q, s.n_tests, s.n_set, s.n_tokens
ORDER BY abs(s.score) DESC, s.feature
LIMIT $limit;
