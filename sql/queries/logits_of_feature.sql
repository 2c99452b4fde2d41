-- logits_of_feature: the tokens that a feature's decoder direction raises and lowers most.
-- in:  feature_logits, features, codes_and_sets, vocabulary, feature_tokens; $codes, $mask text; $feature
-- out: kind (top: raised, bottom: lowered), rank, token, effect (on the logit at a value of 1, less the mean over tokens), spreads (effect over the standard deviation over tokens), fires_on (firings on this token where it is among the kept ones, else NULL: a feature that raises what it fires on repeats it)
SELECT
    l.kind,
    l.rank,
    v.text AS token,
    l.effect,
    l.effect / nullif(f.logit_std, 0) AS spreads,
    t.count AS fires_on
FROM codes_and_sets AS c
INNER JOIN feature_logits AS l USING (dictionary)
INNER JOIN features AS f ON f.dictionary = c.dictionary AND f.feature = l.feature
LEFT JOIN vocabulary AS v ON v.tokenizer = c.tokenizer AND v.token_id = l.token_id
LEFT JOIN feature_tokens AS t
    ON
        t.codes = $codes
        AND t.mask = $mask
        AND t.feature = l.feature
        AND t.token_id = l.token_id
        AND t.kind = 'count'
WHERE c.codes = $codes AND l.feature = $feature
ORDER BY l.kind DESC, l.rank;
