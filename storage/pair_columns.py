"""The columns of the tables about pairs of features, and about features and labels.

In the form of ``columns.COLUMNS``: name, type (``?``: NULL is allowed), meaning.
"""

__all__ = ["PAIR_COLUMNS"]

PAIR_COLUMNS: dict[str, str] = {
    "feature_pairs": """
        codes VARCHAR name of the codes
        mask VARCHAR name of the mask
        level VARCHAR token: units are rows under the mask; document: documents with such rows
        feature_a INTEGER feature in [0, n_features)
        rank BIGINT of feature_b among the partners of feature_a, from 1, by joint × ln(lift)
        feature_b INTEGER another feature
        n BIGINT units
        fires_a BIGINT units on which feature_a fires
        fires_b BIGINT units on which feature_b fires
        joint BIGINT units on which both fire
        sum_a DOUBLE sum of the values of feature_a; of a document, the largest of its rows
        sum_b DOUBLE the same of feature_b
        square_a DOUBLE sum of their squares
        square_b DOUBLE the same of feature_b
        product DOUBLE sum over units of the product of both values
        decoder_cosine DOUBLE? cosine of the two decoder directions; NULL if a direction is missing
        weight DOUBLE? of feature_b in ridge regression of feature_a on all others, or on its block
        redundancy_a DOUBLE? share of feature_a's squares that this regression explains, in [0, 1]
        p DOUBLE chance of so many joint firings or more of unrelated features: hypergeometric
        q DOUBLE p after Benjamini-Hochberg over n_tests, where pairs that are not kept count as 1
        n_tests BIGINT pairs of features that fire often enough, each counted before the cut
        run VARCHAR run that wrote this row
    """,
    "feature_families": """
        codes VARCHAR name of the codes
        mask VARCHAR name of the mask
        level VARCHAR token or document, as in feature_pairs
        family INTEGER number of the family, from 0
        round INTEGER from 1: roots of earlier rounds are left out
        feature INTEGER member, in [0, n_features)
        parent INTEGER? denser feature that it hangs under; NULL for the root
        depth INTEGER edges from the root
        n_fires BIGINT units on which the member fires
        share DOUBLE? share of the member's firings on which its parent fires too, over fires + 1
        run VARCHAR run that wrote this row
    """,
    "feature_labels": """
        codes VARCHAR name of the codes
        mask VARCHAR name of the mask
        label VARCHAR label of documents or of spans
        value VARCHAR its value, against all others, as text
        subset_by VARCHAR label that cuts documents into subsets; empty if none does
        subset VARCHAR its value, to whose documents the row is confined; empty for all documents
        level VARCHAR document: units are documents; token: rows, labelled by document or spans
        pooling VARCHAR max, mean, sum or any over the rows of a document; empty for rows
        feature INTEGER feature in [0, n_features)
        n_positive BIGINT units with the value
        n_negative BIGINT units with another value
        fires_positive BIGINT units with the value on which the feature fires
        fires_negative BIGINT the same of the others
        sum_positive DOUBLE sum of the feature's values over units with the value
        sum_negative DOUBLE the same of the others
        square_positive DOUBLE sum of their squares
        square_negative DOUBLE the same of the others
        auroc DOUBLE chance that a unit with the value is above one without; silent units count as 0
        auprc DOUBLE average precision, silent units last
        threshold DOUBLE value at or above which F1 is largest; 0: every unit
        precision DOUBLE share of units at or above it that have the value
        recall DOUBLE share of units with the value that are at or above it
        f1 DOUBLE harmonic mean of the two
        top_n BIGINT units above the threshold that 0.5 % of the units are above
        top_positive BIGINT those of them with the value
        p DOUBLE? two-sided; document: Mann-Whitney; token: share of rows, clustered by document
        q DOUBLE? p after Benjamini-Hochberg over n_tests
        n_tests BIGINT features times values tested together, in one subset
        run VARCHAR run that wrote this row
        p_fisher DOUBLE? Fisher's exact test of firing or not; NULL for rows, or from before it
        q_fisher DOUBLE? p_fisher after Benjamini-Hochberg over n_tests
        information DOUBLE? nats that silent, weak or strong (above the median) tells of the value
        information_by_chance DOUBLE? its mean over all ways to deal the value out; NULL for rows
    """,
    "feature_changes": """
        codes_a VARCHAR codes over one corpus
        codes_b VARCHAR codes of the same dictionary over another
        mask VARCHAR rows of both sides that count
        feature INTEGER feature in [0, n_features)
        rows_a BIGINT rows of codes_a under the mask
        rows_b BIGINT rows of codes_b under the mask
        documents_a BIGINT documents that hold them
        documents_b BIGINT the same of codes_b
        fires_a BIGINT rows of codes_a on which the feature fires
        fires_b BIGINT rows of codes_b on which it fires
        firing_documents_a BIGINT documents that hold them
        firing_documents_b BIGINT the same of codes_b
        difference DOUBLE share of firing rows of codes_b less that of codes_a
        standard_error DOUBLE? of the difference, documents being independent; NULL if too few fire
        p DOUBLE? two-sided, of difference / standard_error
        q DOUBLE? p after Benjamini-Hochberg over n_tests
        n_tests BIGINT features that fire in enough documents
        run VARCHAR run that wrote this row
    """,
}
