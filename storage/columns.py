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
        fingerprint VARCHAR sha256 over config, weight and tokenizer or image processor files
        source VARCHAR hub id, path or package as the user gave it
        path VARCHAR directory that was loaded
        architecture VARCHAR model type of its configuration, such as llama
        layers BIGINT transformer blocks
        width BIGINT width of the residual stream
        vocabulary BIGINT rows of the token embedding; of a model that sees images, rows of one
        run VARCHAR run that wrote this row
    """,
    "corpora": """
        corpus VARCHAR name
        fingerprint VARCHAR hash over all documents and labels in order
        documents BIGINT number of documents
        source VARCHAR where the documents came from, as the user gave it; images:FOLDER of images
        run VARCHAR run that wrote this row
    """,
    "documents": """
        corpus VARCHAR name of the corpus
        document BIGINT index in the corpus, from 0
        source_id VARCHAR id in the source
        text VARCHAR the whole text; of an image its path below the source
    """,
    "labels": """
        corpus VARCHAR name of the corpus
        label VARCHAR name of the label
        document BIGINT index of the document
        char_start BIGINT? first code point of the labelled span; NULL: the whole document
        char_stop BIGINT? code point after the span; 0, as char_start: the document has none
        value_text VARCHAR? the value as text; NULL where the document has no span
        value_real DOUBLE? the value as a number, where it is one
    """,
    "rowsets": """
        rowset VARCHAR name
        corpus VARCHAR name of the corpus
        kind VARCHAR token, document, or patch: of images
        tokenizer VARCHAR? name of the tokenizer, or of what makes patches; NULL for documents
        windowing VARCHAR? document or packed; NULL for documents
        window BIGINT? tokens of the longest window
        overlap BIGINT? tokens carried from the previous window
        rows BIGINT number of rows
        shard_rows BIGINT rows of a full shard, a power of two
        fingerprint VARCHAR hash of corpus, tokenizer and windowing rule; or of parent and mask
        id VARCHAR generated id
        path VARCHAR folder of its arrays, relative to the lake
        run VARCHAR run that wrote this row
        parent VARCHAR? rowset whose rows under the mask these are; NULL for one of all rows
        mask VARCHAR? name of the mask that chose them
    """,
    "tokens": """
        rowset VARCHAR name of the rowset
        row BIGINT index in the rowset
        document BIGINT index of the document
        window INTEGER index of the window: in its document, or in the corpus where packed
        position INTEGER index among its document's rows, those that the rowset leaves out too
        window_position INTEGER index in the sequence that the model saw
        token_id INTEGER? vocabulary index; NULL in a document rowset
        char_start INTEGER first code point of the token in the document's text
        char_stop INTEGER code point after the token; equal to char_start for specials and patches
        is_special BOOLEAN added by the tokenizer or the model, not part of the text or image
    """,
    "vocabulary": """
        tokenizer VARCHAR name of the tokenizer
        token_id INTEGER vocabulary index
        text VARCHAR the token as text; a patch is patch(line,column)
    """,
    "tensors": """
        tensor VARCHAR name
        model VARCHAR name of the model
        site VARCHAR alias or module path as asked for
        module VARCHAR module that was hooked
        side VARCHAR input or output of the module, pooled, or what is kept of its attention
        rowset VARCHAR name of the rowset
        dtype VARCHAR stored dtype: float16, bfloat16, float32 or int8
        compute_dtype VARCHAR dtype of the forward pass
        width BIGINT values a row
        rows BIGINT rows when complete
        fingerprint VARCHAR hash of model, site, rowset and dtypes
        id VARCHAR generated id
        path VARCHAR folder of the Zarr array, of int8 of the group of two, relative to the lake
        state VARCHAR planned or sealed
        run VARCHAR run that planned it
    """,
    "shards": """
        owner VARCHAR id of the rowset, tensor or codes
        array VARCHAR rows, scale, a rowset column, indptr, indices, values or postings
        shard BIGINT index on the rowset's grid
        row_start BIGINT first row
        row_stop BIGINT row after the last
        bytes BIGINT size of the file
        payload_crc32c BIGINT CRC-32C of the chunk before its trailer; of a Parquet file, all of it
        xxh3_128 VARCHAR hash of the whole file, hexadecimal
        nonfinite BIGINT values that are NaN or infinite, in int8 as they are read
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
    "training_shards": """
        dictionary VARCHAR name of the dictionary
        shard BIGINT shard of its tensor
        rows BIGINT rows of it that were learned from, once for each time that a row was taken
        first_step BIGINT? optimiser step that took the first of them, from 0; NULL without steps
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
        statistic VARCHAR moments, histogram, top_rows, tokens, document_pool, …
        shard BIGINT index on the rowset's grid
        code_version VARCHAR version of the statistic's code
        path VARCHAR file, relative to the lake
        bytes BIGINT size of the file
        xxh3_128 VARCHAR hash of the file, hexadecimal
        run VARCHAR run that wrote this row
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
