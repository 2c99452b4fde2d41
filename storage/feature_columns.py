"""The columns of the tables about features, as in ``columns``."""

__all__ = ["FEATURE_COLUMNS"]

FEATURE_COLUMNS = {
    "feature_statistics": """
        codes VARCHAR name of the codes
        mask VARCHAR name of the mask
        feature INTEGER feature in [0, n_features)
        n_rows BIGINT rows under the mask: the denominator
        n_fires BIGINT rows under the mask on which the feature fires
        density DOUBLE n_fires / n_rows, in [0, 1]
        mean_active DOUBLE? mean value over firing rows; NULL if it never fires
        std_active DOUBLE? population standard deviation over firing rows
        min_active DOUBLE? smallest value on a firing row
        max_active DOUBLE? largest value
        q50_active DOUBLE? median over firing rows, within 1 %
        q90_active DOUBLE? 90 % quantile over firing rows, within 1 %
        q99_active DOUBLE? 99 % quantile over firing rows, within 1 %
        mean_all DOUBLE mean over all rows under the mask, zeros counted
        std_all DOUBLE population standard deviation over all rows
        skew_all DOUBLE? skewness over all rows; NULL if constant
        kurtosis_all DOUBLE? excess kurtosis over all rows; NULL if constant
        run VARCHAR run that wrote this row
        n_documents BIGINT? documents with a row under the mask; NULL before that was kept
        n_documents_fires BIGINT? documents in which the feature fires
        gini_documents DOUBLE? Gini of its firing rows a document; near 1 where one holds all
        skew_active DOUBLE? skewness over firing rows; NULL if constant
        kurtosis_active DOUBLE? excess kurtosis over firing rows; NULL if constant
        q90_all DOUBLE? 90 % quantile over all rows, zeros counted, within 1 %
        q99_all DOUBLE? 99 % quantile over all rows, within 1 %
        q999_all DOUBLE? 99.9 % quantile over all rows, within 1 %
        n_sources BIGINT? sources with a row under the mask; NULL where no label is taken for them
        n_sources_fires BIGINT? sources in which the feature fires
        gini_sources DOUBLE? Gini of its firing rows against the rows of each source; 0: one rate
    """,
    "feature_profiles": """
        codes VARCHAR name of the codes
        mask VARCHAR name of the mask
        feature INTEGER feature in [0, n_features)
        n_tokens BIGINT? different tokens it fires on; NULL if it never fires
        token_entropy DOUBLE? bits of the tokens it fires on, corrected for few firings
        token_bits DOUBLE? divergence of those tokens from the tokens of all rows, in bits
        top_token_share DOUBLE? share of its firings that are on its most frequent token, in (0, 1]
        previous_entropy DOUBLE? bits of the tokens before the rows it fires on, in the document
        previous_token_share DOUBLE? share of the most frequent of them
        next_entropy DOUBLE? bits of the tokens after the rows it fires on
        next_token_share DOUBLE? share of the most frequent of them
        space_share DOUBLE? share of its firings on tokens that begin with a space
        capital_share DOUBLE? share on tokens whose first letter is upper-case
        digit_share DOUBLE? share on tokens that hold a digit
        punctuation_share DOUBLE? share on tokens of neither letters nor digits
        position_bits DOUBLE? divergence of its positions from those of all rows, in bits
        position_peak BIGINT? first position of the bin with the largest position_lift
        position_peak_share DOUBLE? share of its firings in that bin, in (0, 1]
        position_lift DOUBLE? (firings + 1) / (expected firings + 1) there
        run VARCHAR run that wrote this row
        burstiness DOUBLE? of gaps between firings, in [-1, 1]; 0: at random; NULL for 2 or fewer
    """,
    "feature_histograms": """
        codes VARCHAR name of the codes
        mask VARCHAR name of the mask
        feature INTEGER feature in [0, n_features)
        bin INTEGER b: values in (γ^(b-1), γ^b] with γ = 1.01 / 0.99
        count BIGINT firing rows in the bin
    """,
    "feature_positions": """
        codes VARCHAR name of the codes
        mask VARCHAR name of the mask
        feature INTEGER feature in [0, n_features)
        position_start BIGINT first position of the bin, in the document; bins double in length
        position_stop BIGINT position after the last
        n_rows BIGINT rows under the mask in the bin
        n_fires BIGINT of those, rows on which the feature fires; bins without one have no row
    """,
    "feature_examples": """
        codes VARCHAR name of the codes
        mask VARCHAR name of the mask
        feature INTEGER feature in [0, n_features)
        kind VARCHAR top, quantile (of each tenth by value), random (firing), silent or negative
        rank BIGINT from 1
        row BIGINT index in the rowset
        value FLOAT stored value on that row; 0 where it is silent
        n_alike BIGINT? rows under the mask with the same tokens up to 8 away, of which one is shown
        member VARCHAR? codes that the row is of, where codes name a set; else NULL
    """,
    "feature_tokens": """
        codes VARCHAR name of the codes
        mask VARCHAR name of the mask
        feature INTEGER feature in [0, n_features)
        kind VARCHAR count, lift or mean, which rank tokens; previous, next: those beside, by count
        rank BIGINT from 1
        token_id INTEGER vocabulary index
        count BIGINT firing rows of this token
        mean DOUBLE mean value over them
        lift DOUBLE share of the token among firing rows over its share among all rows
    """,
    "codes_sets": """
        codes VARCHAR name of the set, which stands for codes in the tables of its statistics
        mask VARCHAR name of the mask that they are under
        place BIGINT from 1: rows of a set are those of its first codes, then of its second, …
        member VARCHAR name of codes that the set is made of
        run VARCHAR run that wrote this row
    """,
    "features": """
        dictionary VARCHAR name of the dictionary
        feature INTEGER feature in [0, n_features)
        decoder_norm DOUBLE? Euclidean norm of its decoder direction
        encoder_norm DOUBLE? of its encoder direction
        encoder_decoder_cosine DOUBLE? cosine of the two, in [-1, 1]; NULL where a norm is 0
        encoder_bias DOUBLE? added before selection; NULL without an encoder
        threshold DOUBLE? value that it must exceed to fire; NULL where the k largest are taken
        decoder_bias_cosine DOUBLE? cosine of its decoder direction and the decoder bias
        nearest_decoder INTEGER? the feature whose decoder direction is most like its own
        nearest_decoder_cosine DOUBLE? cosine with it, in [-1, 1]
        nearest_decoder_p DOUBLE? chance that the best of as many random directions is as near
        participation_ratio DOUBLE? (Σw²)²/Σw⁴ of its decoder: dimensions it is spread over
        outlier_share DOUBLE? share of its squared norm in the 1 % of dimensions all share most
        logit_mean DOUBLE? mean over the vocabulary of what a value of 1 adds to the logits
        logit_std DOUBLE? standard deviation of it; NULL, as the next, without an unembedding
        logit_skew DOUBLE? skewness: > 0 raises few tokens, < 0 lowers few
        logit_kurtosis DOUBLE? excess kurtosis: near 0 for a direction without a role for tokens
        logit_max DOUBLE? largest of them above their mean
        logit_entropy DOUBLE? bits of the distribution over tokens at a value of 1 alone
        run VARCHAR run that wrote this row
    """,
    "feature_neighbours": """
        dictionary VARCHAR name of the dictionary
        feature INTEGER feature in [0, n_features)
        rank BIGINT of the neighbour among those of the feature, from 1, nearest first
        neighbour INTEGER feature of the same dictionary
        cosine DOUBLE of the two decoder directions, in [-1, 1]
        p DOUBLE? chance that the best of as many random directions is as near; NULL for width 1
        run VARCHAR run that wrote this row
    """,
    "feature_logits": """
        dictionary VARCHAR name of the dictionary
        feature INTEGER feature in [0, n_features)
        kind VARCHAR top: raised most; bottom: lowered most
        rank BIGINT from 1
        token_id INTEGER vocabulary index
        effect DOUBLE what a value of 1 adds to the token's logit, less the mean over tokens
    """,
    "feature_token_sets": """
        dictionary VARCHAR name of the dictionary
        feature INTEGER feature in [0, n_features)
        token_set VARCHAR name of the set: of how its tokens look, or as the user named it
        n_set BIGINT tokens in the set
        n_tokens BIGINT tokens of the vocabulary, among which the set stands
        score DOUBLE? enrichment in [-1, 1]; 1: all of it raised above all others; NULL for a 0 row
        random_score DOUBLE what the scores of 99 % of random directions stay below, either sign
        p DOUBLE chance that a random set of n_set tokens scores so: Kolmogorov-Smirnov
        q DOUBLE p after Benjamini-Hochberg over n_tests
        n_tests BIGINT features times sets
        run VARCHAR run that wrote this row
    """,
}
