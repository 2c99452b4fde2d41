-- feature_statistics_n_documents_fires: in how many documents a feature fires.
-- in:  feature_statistics
-- out: feature_statistics with the column n_documents_fires, NULL in the rows that are there
ALTER TABLE feature_statistics ADD COLUMN n_documents_fires BIGINT;
