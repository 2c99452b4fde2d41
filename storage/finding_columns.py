"""The columns of the tables that hold findings: comparisons of models, hypotheses about labels.

In the form of ``columns.COLUMNS``: name, type (``?``: NULL is allowed), meaning.
"""

__all__ = ["FINDING_COLUMNS"]

FINDING_COLUMNS: dict[str, str] = {
    "comparisons": """
        codes_a VARCHAR name of one codes
        codes_b VARCHAR name of the other
        mask VARCHAR rows of both sides that count
        method VARCHAR activation: correlation over aligned units; decoder: cosine of directions
        documents BIGINT? documents that have units; NULL where nothing was aligned
        units BIGINT? finest common pieces of both tokenizations, the n of the correlations
        text_aligned DOUBLE? share of the documents' characters that lie in a unit
        rows_aligned_a DOUBLE? share of the rows of codes_a under the mask that are in a unit
        rows_aligned_b DOUBLE? the same of codes_b
        min_fires INTEGER? units that a feature must fire on to be compared
        permutations INTEGER? searches over permuted documents that make the null; NULL if exact
        tested_a INTEGER features of codes_a that were compared
        tested_b INTEGER features of codes_b that were compared
        mutual INTEGER pairs in which each is the best partner of the other
        run VARCHAR run that wrote this row
    """,
    "feature_matches": """
        codes_a VARCHAR name of one codes
        feature_a INTEGER? feature of codes_a; NULL where feature_b has no partner
        codes_b VARCHAR name of the other codes
        feature_b INTEGER? feature of codes_b; NULL where feature_a has no partner
        mask VARCHAR rows of both sides that count
        method VARCHAR activation or decoder, as in comparisons
        best_of VARCHAR a: b is the best partner of a; b: a is that of b
        score DOUBLE? correlation or cosine, in [-1, 1]; NULL without a partner
        margin DOUBLE? score less that of the next best partner
        n_fires BIGINT? units on which the feature that best_of names fires
        n_joint BIGINT? units on which both fire
        null_mean DOUBLE? mean score of a best partner by chance, of features that fire as often
        null_high DOUBLE? what 5 % of such scores by chance are above
        p DOUBLE? share of best partners under the null that score as high; NULL without a partner
        q DOUBLE? p after Benjamini-Hochberg over both directions of the comparison
        is_mutual BOOLEAN whether each is the best partner of the other
        run VARCHAR run that wrote this row
    """,
    "similarities": """
        tensor_a VARCHAR name of one tensor
        tensor_b VARCHAR name of the other
        mask VARCHAR rows of both sides that count
        method VARCHAR cka: debiased, linear; svcca: mean correlation of the axes kept
        value DOUBLE the similarity, 1 for the same up to rotation and scale
        null_mean DOUBLE mean of it over permuted documents
        cut_mean DOUBLE mean of it over the matched rows that permutations keep, beside null_mean
        null_share DOUBLE share of the rows that permutations keep
        n BIGINT aligned units it was computed over
        documents BIGINT documents that hold them
        text_aligned DOUBLE share of the documents' characters that lie in a unit
        permutations INTEGER how often documents were permuted
        p DOUBLE share of permutations, and of the truth itself, that are as similar
        q DOUBLE p after Benjamini-Hochberg over the methods; of all pairs: similarity_tests
        run VARCHAR run that wrote this row
    """,
    "hypotheses": """
        run VARCHAR run that wrote this row
        target VARCHAR label that features may go with
        level VARCHAR value of the label, against all others; empty for a number
        codes VARCHAR name of the codes
        mask VARCHAR rows that were pooled
        pooling VARCHAR max, mean, sum or any, over the rows of a document
        feature INTEGER feature in [0, n_features)
        selected_by VARCHAR correlation, separation or both
        statement VARCHAR the hypothesis in words
        split VARCHAR what the following is of: holdout, or validation if that spoke against it
        correlation DOUBLE? of feature and target over the documents of train
        separation DOUBLE? mean target where the feature fires most, less where silent, on train
        effect DOUBLE? change of the target for one standard deviation of the feature
        ci_low DOUBLE? lower end of its 95 % interval, clustered by group; NULL if it fires rarely
        ci_high DOUBLE? upper end
        n BIGINT documents
        n_groups BIGINT groups that they are of
        n_tests BIGINT hypotheses tested together
        p DOUBLE? of the effect, clustered by group; NULL where ci_low is
        p_permutation DOUBLE? of its correlation, target permuted over the unit in designs
        p_family DOUBLE? as p_permutation, of the strongest of all n_tests
        p_bonferroni DOUBLE? p_permutation times n_tests
        q DOUBLE? p_permutation after Benjamini-Hochberg over n_tests
        look INTEGER how often runs had looked at this holdout for this target, this run included
    """,
    "hypothesis_phrases": """
        run VARCHAR run that wrote this row
        target VARCHAR as in hypotheses
        level VARCHAR as in hypotheses
        codes VARCHAR name of the codes
        feature INTEGER feature in [0, n_features)
        rank INTEGER from 1
        phrase VARCHAR one or two words
        firing BIGINT documents with it among those on which the feature fires
        silent BIGINT documents with it among matched ones on which it is silent
        z DOUBLE log-odds ratio with an informative prior, in standard errors
    """,
    "hypothesis_exemplars": """
        run VARCHAR run that wrote this row
        target VARCHAR as in hypotheses
        level VARCHAR as in hypotheses
        codes VARCHAR name of the codes
        feature INTEGER feature in [0, n_features)
        rank INTEGER from 1, strongest first
        document BIGINT document of the rowset's corpus, of any split
        value DOUBLE pooled value of the feature in it
    """,
    "designs": """
        run VARCHAR run that wrote this row
        target VARCHAR as in hypotheses
        level VARCHAR as in hypotheses
        codes VARCHAR name of the codes
        grouped_by VARCHAR label whose values stay on one side of the split
        unit VARCHAR label on whose values the target is constant and was permuted; empty: documents
        split VARCHAR train, validation or holdout
        documents BIGINT documents in the split
        n_groups BIGINT groups in it
        n_units BIGINT units in it; those smaller than groups are permuted in theirs
        smallest_p DOUBLE? smallest p that permuting the units can give
        smallest_effect DOUBLE? in sd, with power 0.8 at 0.05 / n_tests; NULL: none, or no formula
        intraclass DOUBLE? correlation of two documents of one group, median over features selected
    """,
}
