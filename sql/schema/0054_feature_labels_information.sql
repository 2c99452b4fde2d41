-- feature_labels_information: the mutual information of its level and the value in nats.
-- in:  feature_labels
-- out: feature_labels with the column information, NULL in the rows that are there
ALTER TABLE feature_labels ADD COLUMN information DOUBLE;
