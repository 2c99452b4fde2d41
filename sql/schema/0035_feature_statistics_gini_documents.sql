-- feature_statistics_gini_documents: how unevenly a feature's firings lie over documents.
-- in:  feature_statistics
-- out: feature_statistics with the column gini_documents, NULL in the rows that are there
ALTER TABLE feature_statistics ADD COLUMN gini_documents DOUBLE;
