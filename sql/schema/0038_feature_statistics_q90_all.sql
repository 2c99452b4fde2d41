-- feature_statistics_q90_all: 90 % quantile over all rows.
-- in:  feature_statistics
-- out: feature_statistics with the column q90_all, NULL in the rows that are there
ALTER TABLE feature_statistics ADD COLUMN q90_all DOUBLE;
