-- dead_features: features that never fired on a row under the mask, and on how many they had the chance.
-- in:  feature_statistics, codes
-- out: codes, mask, feature, dictionary, tensor, n_rows (rows under the mask); one row a dead feature
CREATE OR REPLACE VIEW dead_features AS
SELECT
    s.codes,
    s.mask,
    s.feature,
    c.dictionary,
    c.tensor,
    s.n_rows
FROM feature_statistics AS s
LEFT JOIN codes AS c USING (codes)
WHERE s.n_fires = 0;
