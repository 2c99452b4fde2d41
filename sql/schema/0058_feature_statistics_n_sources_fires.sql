-- feature_statistics_n_sources_fires: in how many sources a feature fires.
-- in:  feature_statistics
-- out: feature_statistics with the column n_sources_fires, NULL in the rows that are there
ALTER TABLE feature_statistics ADD COLUMN n_sources_fires BIGINT;
