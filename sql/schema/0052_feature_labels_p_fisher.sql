-- feature_labels_p_fisher: p of Fisher's exact test.
-- in:  feature_labels
-- out: feature_labels with the column p_fisher, NULL in the rows that are there
ALTER TABLE feature_labels ADD COLUMN p_fisher DOUBLE;
