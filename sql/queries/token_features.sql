-- token_features: features that are one token in disguise: nearly all of their firings are on one.
-- in:  feature_summary; $codes, $mask text; $limit
-- out: feature, token, top_token_share (of firings, in (0, 1]), token_entropy (bits), n_fires, lift (of the token, over its share of all rows), missed_share (of the token's rows, on which the feature is silent, in [0, 1]), previous_token_share and next_token_share (near 1: it is a longer phrase); largest share first
SELECT
    feature,
    top_token AS token,
    top_token_share,
    token_entropy,
    n_fires,
    top_token_lift AS lift,
    -- lift = (count / n_fires) / (seen / n_rows), from which the token's rows follow.
    greatest(1 - top_token_lift * n_fires / n_rows, 0) AS missed_share,
    previous_token_share,
    next_token_share
FROM feature_summary
WHERE codes = $codes AND mask = $mask AND is_single_token
ORDER BY top_token_share DESC, n_fires DESC, feature
LIMIT $limit;
