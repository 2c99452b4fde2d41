-- feature_examples_member: of which codes of a set the example is a row.
-- in:  feature_examples
-- out: feature_examples with the column member, NULL in the rows that are there
ALTER TABLE feature_examples ADD COLUMN member VARCHAR;
