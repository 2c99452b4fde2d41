-- feature_labels_q_fisher: p_fisher corrected for the number of tests.
-- in:  feature_labels
-- out: feature_labels with the column q_fisher, NULL in the rows that are there
ALTER TABLE feature_labels ADD COLUMN q_fisher DOUBLE;
