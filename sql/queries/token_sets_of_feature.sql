-- token_sets_of_feature: the sets of tokens that a feature raises or lowers as a whole, strongest first.
-- in:  feature_token_sets, codes_and_sets; $codes text; $feature; $q
-- out: token_set; effect (raises or lowers); score in [-1, 1] (1: all of the set above all other tokens); random_score (what 99 % of random directions stay below, so a smaller score is no role of the feature); beyond_random; n_set of n_tokens; p, q, n_tests
SELECT
    s.token_set,
    if(s.score > 0, 'raises', 'lowers') AS effect,
    s.score,
    s.random_score,
    abs(s.score) > s.random_score AS beyond_random,
    s.n_set,
    s.n_tokens,
    s.p,
    s.q,
    s.n_tests
FROM codes_and_sets AS c
INNER JOIN feature_token_sets AS s USING (dictionary)
WHERE c.codes = $codes AND s.feature = $feature AND s.q <= $q
ORDER BY abs(s.score) / s.random_score DESC, s.token_set;
