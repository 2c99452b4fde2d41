-- feature_labels_information_by_chance: the information that chance gives, in nats.
-- in:  feature_labels
-- out: feature_labels with the column information_by_chance, NULL in the rows that are there
ALTER TABLE feature_labels ADD COLUMN information_by_chance DOUBLE;
