-- feature_statistics_kurtosis_active: excess kurtosis over firing rows.
-- in:  feature_statistics
-- out: feature_statistics with the column kurtosis_active, NULL in the rows that are there
ALTER TABLE feature_statistics ADD COLUMN kurtosis_active DOUBLE;
