-- dead_features: features that never fired on a row under the mask, and on how many they had the chance.
-- in:  feature_statistics, codes_and_sets
-- out: codes, mask, feature, dictionary, tensor (NULL for a set), n_rows (rows under the mask); one row a dead feature
CREATE OR REPLACE VIEW dead_features AS
SELECT
    s.codes,
    s.mask,
    s.feature,
    c.dictionary,
    c.tensor,
    s.n_rows
FROM feature_statistics AS s
LEFT JOIN codes_and_sets AS c USING (codes)
WHERE s.n_fires = 0;
