-- feature_statistics_q999_all: 99.9 % quantile over all rows.
-- in:  feature_statistics
-- out: feature_statistics with the column q999_all, NULL in the rows that are there
ALTER TABLE feature_statistics ADD COLUMN q999_all DOUBLE;
