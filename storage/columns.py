"""The columns of every table, as text: name, type (with ``?`` where NULL is allowed), meaning.

``fields`` reads it; ``sql/schema`` has the same columns, and a test holds the two to each other.
"""

__all__ = ["COLUMNS"]

COLUMNS = {
    "migrations": """
        version BIGINT number of the schema file, counted from 1
        name VARCHAR name of the schema file
        sha256 VARCHAR of the file's text, hexadecimal
        applied TIMESTAMP when, UTC
        actlake_version VARCHAR version of actlake that applied it
    """,
    "runs": """
        run VARCHAR id of this execution, sortable by start
        key VARCHAR hash of flow, parameters, input fingerprints and format: the work's identity
        flow VARCHAR verb, such as extract
        parameters VARCHAR JSON object
        state VARCHAR running, completed, failed, crashed or undone: what it made was deleted since
        error VARCHAR? one line, where it failed
        started TIMESTAMP UTC
        ended TIMESTAMP? UTC
        snapshot_before BIGINT snapshot that the run read
        snapshot_after BIGINT? snapshot of its last data commit; NULL if it wrote nothing
        inputs VARCHAR JSON list of the names and fingerprints that went into the key
        code_version VARCHAR version of actlake
        host VARCHAR machine it ran on
        prefect_run VARCHAR? id of the Prefect flow run that carried it out; NULL if none did
        author VARCHAR? user it ran as; NULL before that was kept
    """,
    "models": """
        model VARCHAR name
        fingerprint VARCHAR sha256 over config, weight and tokenizer files
        source VARCHAR hub id, path or package as the user gave it
        path VARCHAR directory that was loaded
        architecture VARCHAR model type of its configuration, such as llama
        layers BIGINT transformer blocks
        width BIGINT width of the residual stream
        vocabulary BIGINT rows of the token embedding
        run VARCHAR run that wrote this row
    """,
    "corpora": """
        corpus VARCHAR name
        fingerprint VARCHAR hash over all documents and labels in order
        documents BIGINT number of documents
        source VARCHAR where the documents came from, as the user gave it
        run VARCHAR run that wrote this row
    """,
    "documents": """
        corpus VARCHAR name of the corpus
        document BIGINT index in the corpus, from 0
        source_id VARCHAR id in the source
        text VARCHAR the whole text
    """,
    "labels": """
        corpus VARCHAR name of the corpus
        label VARCHAR name of the label
        document BIGINT index of the document
        char_start BIGINT? first code point of the labelled span; NULL: the whole document
        char_stop BIGINT? code point after the span
        value_text VARCHAR? the value as text
        value_real DOUBLE? the value as a number, where it is one
    """,
    "rowsets": """
        rowset VARCHAR name
        corpus VARCHAR name of the corpus
        kind VARCHAR token or document
        tokenizer VARCHAR? name of the tokenizer; NULL for documents
        windowing VARCHAR? document or packed; NULL for documents
        window BIGINT? tokens of the longest window
        overlap BIGINT? tokens carried from the previous window
        rows BIGINT number of rows
        shard_rows BIGINT rows of a full shard, a power of two
        fingerprint VARCHAR hash of corpus, tokenizer and windowing rule
        id VARCHAR generated id
        path VARCHAR folder of its arrays, relative to the lake
        run VARCHAR run that wrote this row
    """,
    "tokens": """
        rowset VARCHAR name of the rowset
        row BIGINT index in the rowset
        document BIGINT index of the document
        window INTEGER index of the window: in its document, or in the corpus where packed
        position INTEGER index of the row among its document's rows
        window_position INTEGER index in the sequence that the model saw
        token_id INTEGER? vocabulary index; NULL in a document rowset
        char_start INTEGER first code point of the token in the document's text
        char_stop INTEGER code point after the token; equal to char_start for specials
        is_special BOOLEAN added by the tokenizer, not part of the text
    """,
    "vocabulary": """
        tokenizer VARCHAR name of the tokenizer
        token_id INTEGER vocabulary index
        text VARCHAR the token as text
    """,
    "tensors": """
        tensor VARCHAR name
        model VARCHAR name of the model
        site VARCHAR alias or module path as asked for
        module VARCHAR module that was hooked
        side VARCHAR input or output of the module, or pooled
        rowset VARCHAR name of the rowset
        dtype VARCHAR stored dtype: float16, bfloat16 or float32
        compute_dtype VARCHAR dtype of the forward pass
        width BIGINT values a row
        rows BIGINT rows when complete
        fingerprint VARCHAR hash of model, site, rowset and dtypes
        id VARCHAR generated id
        path VARCHAR folder of the Zarr array, relative to the lake
        state VARCHAR planned or sealed
        run VARCHAR run that planned it
    """,
    "shards": """
        owner VARCHAR id of the rowset, tensor or codes
        array VARCHAR rows, a rowset column, indptr, indices, values or postings
        shard BIGINT index on the rowset's grid
        row_start BIGINT first row
        row_stop BIGINT row after the last
        bytes BIGINT size of the file
        payload_crc32c BIGINT CRC-32C of the chunk before its trailer; of a Parquet file, all of it
        xxh3_128 VARCHAR hash of the whole file, hexadecimal
        nonfinite BIGINT values that are NaN or infinite
        norm_mean DOUBLE? mean Euclidean norm of the rows, where the array holds activations
        token_budget BIGINT? padded tokens a forward pass, where a model ran
        torch_threads BIGINT? threads that torch used, where it ran
        run VARCHAR run that computed it
    """,
    "dictionaries": """
        dictionary VARCHAR name
        method VARCHAR topk, pca, random, identity, …
        tensor VARCHAR tensor it was fitted on
        n_features BIGINT number of features
        width BIGINT width of the rows it encodes
        config VARCHAR JSON object of every hyper-parameter
        fingerprint VARCHAR hash of tensor, method and configuration
        path VARCHAR folder of its files, relative to the lake
        sha256 VARCHAR of dictionary.safetensors, hexadecimal
        run VARCHAR run that wrote this row
    """,
    "training_logs": """
        dictionary VARCHAR name of the dictionary
        step BIGINT optimiser steps taken
        tokens BIGINT rows seen
        metric VARCHAR loss, fvu, l0, dead_share
        value DOUBLE of the interval that ends at this step
        run VARCHAR run that wrote this row
    """,
    "codes": """
        codes VARCHAR name
        dictionary VARCHAR name of the dictionary
        tensor VARCHAR name of the tensor it was encoded over
        rowset VARCHAR name of the rowset
        n_features BIGINT number of features
        nnz BIGINT? stored values; NULL before it is sealed
        rows BIGINT rows when complete
        dtype VARCHAR stored dtype of the values: float16 or float32
        fingerprint VARCHAR hash of dictionary, tensor and dtype
        id VARCHAR generated id
        path VARCHAR folder of its shards, relative to the lake
        state VARCHAR planned or sealed
        run VARCHAR run that planned it
    """,
    "postings": """
        codes VARCHAR name of the codes
        feature INTEGER feature in [0, n_features)
        row BIGINT index in the rowset
        value FLOAT stored value, > 0
    """,
    "masks": """
        mask VARCHAR name
        predicate VARCHAR SQL condition over the columns of tokens
        fingerprint VARCHAR hash of the predicate
    """,
    "partials": """
        codes VARCHAR name of the codes
        mask VARCHAR name of the mask
        statistic VARCHAR moments, histogram, top_rows, tokens, …
        shard BIGINT index on the rowset's grid
        code_version VARCHAR version of the statistic's code
        path VARCHAR file, relative to the lake
        bytes BIGINT size of the file
        xxh3_128 VARCHAR hash of the file, hexadecimal
        run VARCHAR run that wrote this row
    """,
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
    "feature_logits": """
        dictionary VARCHAR name of the dictionary
        feature INTEGER feature in [0, n_features)
        kind VARCHAR top: raised most; bottom: lowered most
        rank BIGINT from 1
        token_id INTEGER vocabulary index
        effect DOUBLE what a value of 1 adds to the token's logit, less the mean over tokens
    """,
    "feature_histograms": """
        codes VARCHAR name of the codes
        mask VARCHAR name of the mask
        feature INTEGER feature in [0, n_features)
        bin INTEGER b: values in (γ^(b-1), γ^b] with γ = 1.01 / 0.99
        count BIGINT firing rows in the bin
    """,
    "feature_examples": """
        codes VARCHAR name of the codes
        mask VARCHAR name of the mask
        feature INTEGER feature in [0, n_features)
        kind VARCHAR top, quantile (of each tenth by value), random (firing), silent or negative
        rank BIGINT from 1
        row BIGINT index in the rowset
        value FLOAT stored value on that row; 0 where it is silent
    """,
    "feature_tokens": """
        codes VARCHAR name of the codes
        mask VARCHAR name of the mask
        feature INTEGER feature in [0, n_features)
        kind VARCHAR count or lift, which rank its tokens; previous or next, those beside, by count
        rank BIGINT from 1
        token_id INTEGER vocabulary index
        count BIGINT firing rows of this token
        mean DOUBLE mean value over them
        lift DOUBLE share of the token among firing rows over its share among all rows
    """,
    "evaluations": """
        dictionary VARCHAR name of the dictionary
        tensor VARCHAR tensor it was evaluated on
        mask VARCHAR name of the mask
        split VARCHAR train or holdout: documents, by hash
        metric VARCHAR fvu, l0, dead_share, …
        value DOUBLE the value
        n BIGINT rows it was computed over
        run VARCHAR run that wrote this row
    """,
    "withdrawals": """
        corpus VARCHAR name of the corpus
        document BIGINT index of the document
        source_id VARCHAR its id in the source
        at TIMESTAMP when it was taken back, UTC
        reason VARCHAR as the user gave it
        first_snapshot BIGINT oldest snapshot that held it and cannot be read any more
        last_snapshot BIGINT newest such snapshot
        removed VARCHAR JSON object: rows that became empty or were removed, by table
        stale VARCHAR JSON object: names of what was computed with it and is still there, by kind
        run VARCHAR run that wrote this row
        purged TIMESTAMP? when no file of the lake held it any more, UTC; NULL until then
    """,
}
