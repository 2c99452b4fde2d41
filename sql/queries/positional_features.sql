-- positional_features: features that fire where they are in the document more than on what is there.
-- in:  feature_summary; $codes, $mask text; $limit
-- out: feature, position_bits (how far its positions depart from those of all rows), position_peak (first position of the bin where it fires most for its rows), position_peak_share (of its firings in that bin), position_lift (how many times as many firings as the bin's rows let expect), token_bits (the same of its tokens: larger than position_bits if it is about tokens after all), n_fires, is_positional; most bits first
SELECT
    feature,
    position_bits,
    position_peak,
    position_peak_share,
    position_lift,
    token_bits,
    n_fires,
    is_positional
FROM feature_summary
WHERE codes = $codes AND mask = $mask AND position_bits > 0
ORDER BY position_bits DESC, feature
LIMIT $limit;
