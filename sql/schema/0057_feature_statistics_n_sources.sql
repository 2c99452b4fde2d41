-- feature_statistics_n_sources: how many sources have a row under the mask.
-- in:  feature_statistics
-- out: feature_statistics with the column n_sources, NULL in the rows that are there
ALTER TABLE feature_statistics ADD COLUMN n_sources BIGINT;
