-- feature_statistics_skew_active: skewness over firing rows.
-- in:  feature_statistics
-- out: feature_statistics with the column skew_active, NULL in the rows that are there
ALTER TABLE feature_statistics ADD COLUMN skew_active DOUBLE;
