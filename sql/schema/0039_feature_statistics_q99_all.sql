-- feature_statistics_q99_all: 99 % quantile over all rows.
-- in:  feature_statistics
-- out: feature_statistics with the column q99_all, NULL in the rows that are there
ALTER TABLE feature_statistics ADD COLUMN q99_all DOUBLE;
