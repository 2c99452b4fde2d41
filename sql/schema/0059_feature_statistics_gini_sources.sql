-- feature_statistics_gini_sources: how unevenly a feature fires over sources.
-- in:  feature_statistics
-- out: feature_statistics with the column gini_sources, NULL in the rows that are there
ALTER TABLE feature_statistics ADD COLUMN gini_sources DOUBLE;
