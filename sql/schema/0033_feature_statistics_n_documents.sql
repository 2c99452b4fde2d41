-- feature_statistics_n_documents: how many documents have a row under the mask.
-- in:  feature_statistics
-- out: feature_statistics with the column n_documents, NULL in the rows that are there
ALTER TABLE feature_statistics ADD COLUMN n_documents BIGINT;
