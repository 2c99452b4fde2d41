-- feature_examples_n_alike: how many rows have the same tokens on and around them as the example.
-- in:  feature_examples
-- out: feature_examples with the column n_alike, NULL in the rows that are there
ALTER TABLE feature_examples ADD COLUMN n_alike BIGINT;
