-- references_dangling: rows that name a corpus, rowset, model, tensor, dictionary, codes or mask that is not there.
-- in:  every table that names something of another one; a tensor that was given from outside may name any model
-- out: owner, what is wrong; one row for each missing name
WITH named AS (
    SELECT DISTINCT
        'documents' AS stored_in,
        corpus AS owner,
        'corpus' AS kind,
        corpus AS name
    FROM documents
    UNION ALL
    SELECT DISTINCT
        'labels',
        corpus,
        'corpus',
        corpus
    FROM labels
    UNION ALL
    SELECT DISTINCT
        'rowsets',
        rowset,
        'corpus',
        corpus
    FROM rowsets
    UNION ALL
    SELECT
        'rowsets',
        rowset,
        'rowset',
        parent
    FROM rowsets
    WHERE parent IS NOT NULL
    UNION ALL
    SELECT
        'rowsets',
        rowset,
        'mask',
        mask
    FROM rowsets
    WHERE mask IS NOT NULL
    UNION ALL
    SELECT DISTINCT
        'tokens',
        rowset,
        'rowset',
        rowset
    FROM tokens
    UNION ALL
    SELECT DISTINCT
        'tensors',
        tensor,
        'rowset',
        rowset
    FROM tensors
    UNION ALL
    SELECT DISTINCT
        'tensors',
        tensor,
        'model',
        model
    FROM tensors
    WHERE side <> 'given'
    UNION ALL
    SELECT DISTINCT
        'dictionaries',
        dictionary,
        'tensor',
        tensor
    FROM dictionaries
    UNION ALL
    SELECT DISTINCT
        'training_logs',
        dictionary,
        'dictionary',
        dictionary
    FROM training_logs
    UNION ALL
    SELECT DISTINCT
        'training_shards',
        dictionary,
        'dictionary',
        dictionary
    FROM training_shards
    UNION ALL
    SELECT DISTINCT
        'features',
        dictionary,
        'dictionary',
        dictionary
    FROM features
    UNION ALL
    SELECT DISTINCT
        'feature_neighbours',
        dictionary,
        'dictionary',
        dictionary
    FROM feature_neighbours
    UNION ALL
    SELECT DISTINCT
        'feature_logits',
        dictionary,
        'dictionary',
        dictionary
    FROM feature_logits
    UNION ALL
    SELECT DISTINCT
        'feature_token_sets',
        dictionary,
        'dictionary',
        dictionary
    FROM feature_token_sets
    UNION ALL
    SELECT DISTINCT
        'codes',
        codes,
        'dictionary',
        dictionary
    FROM codes
    UNION ALL
    SELECT DISTINCT
        'codes',
        codes,
        'tensor',
        tensor
    FROM codes
    UNION ALL
    SELECT DISTINCT
        'codes',
        codes,
        'rowset',
        rowset
    FROM codes
    UNION ALL
    SELECT DISTINCT
        'postings',
        codes,
        'codes',
        codes
    FROM postings
    UNION ALL
    SELECT DISTINCT
        'partials',
        codes,
        'codes',
        codes
    FROM partials
    UNION ALL
    SELECT DISTINCT
        'feature_statistics',
        codes,
        'codes',
        codes
    FROM feature_statistics
    UNION ALL
    SELECT DISTINCT
        'feature_histograms',
        codes,
        'codes',
        codes
    FROM feature_histograms
    UNION ALL
    SELECT DISTINCT
        'feature_profiles',
        codes,
        'codes',
        codes
    FROM feature_profiles
    UNION ALL
    SELECT DISTINCT
        'feature_positions',
        codes,
        'codes',
        codes
    FROM feature_positions
    UNION ALL
    SELECT DISTINCT
        'feature_examples',
        codes,
        'codes',
        codes
    FROM feature_examples
    UNION ALL
    SELECT DISTINCT
        'feature_tokens',
        codes,
        'codes',
        codes
    FROM feature_tokens
    UNION ALL
    SELECT DISTINCT
        'codes_sets',
        codes,
        'codes',
        member
    FROM codes_sets
    UNION ALL
    SELECT DISTINCT
        'feature_examples',
        codes,
        'codes',
        member
    FROM feature_examples
    WHERE member IS NOT NULL
    UNION ALL
    SELECT DISTINCT
        'codes_sets',
        codes,
        'mask',
        mask
    FROM codes_sets
    UNION ALL
    SELECT DISTINCT
        'partials',
        codes,
        'mask',
        mask
    FROM partials
    UNION ALL
    SELECT DISTINCT
        'feature_statistics',
        codes,
        'mask',
        mask
    FROM feature_statistics
    UNION ALL
    SELECT DISTINCT
        'feature_histograms',
        codes,
        'mask',
        mask
    FROM feature_histograms
    UNION ALL
    SELECT DISTINCT
        'feature_profiles',
        codes,
        'mask',
        mask
    FROM feature_profiles
    UNION ALL
    SELECT DISTINCT
        'feature_positions',
        codes,
        'mask',
        mask
    FROM feature_positions
    UNION ALL
    SELECT DISTINCT
        'feature_examples',
        codes,
        'mask',
        mask
    FROM feature_examples
    UNION ALL
    SELECT DISTINCT
        'feature_tokens',
        codes,
        'mask',
        mask
    FROM feature_tokens
    UNION ALL
    SELECT DISTINCT
        'evaluations',
        dictionary,
        'dictionary',
        dictionary
    FROM evaluations
    UNION ALL
    SELECT DISTINCT
        'evaluations',
        dictionary,
        'tensor',
        tensor
    FROM evaluations
    UNION ALL
    SELECT DISTINCT
        'evaluations',
        dictionary,
        'mask',
        mask
    FROM evaluations
    UNION ALL
    SELECT DISTINCT
        'feature_pairs',
        codes,
        'codes',
        codes
    FROM feature_pairs
    UNION ALL
    SELECT DISTINCT
        'feature_pairs',
        codes,
        'mask',
        mask
    FROM feature_pairs
    UNION ALL
    SELECT DISTINCT
        'feature_families',
        codes,
        'codes',
        codes
    FROM feature_families
    UNION ALL
    SELECT DISTINCT
        'feature_families',
        codes,
        'mask',
        mask
    FROM feature_families
    UNION ALL
    SELECT DISTINCT
        'feature_labels',
        codes,
        'codes',
        codes
    FROM feature_labels
    UNION ALL
    SELECT DISTINCT
        'feature_labels',
        codes,
        'mask',
        mask
    FROM feature_labels
    UNION ALL
    SELECT DISTINCT
        'feature_changes',
        codes_a || ' with ' || codes_b,
        'codes',
        codes_a
    FROM feature_changes
    UNION ALL
    SELECT DISTINCT
        'feature_changes',
        codes_a || ' with ' || codes_b,
        'codes',
        codes_b
    FROM feature_changes
    UNION ALL
    SELECT DISTINCT
        'feature_changes',
        codes_a || ' with ' || codes_b,
        'mask',
        mask
    FROM feature_changes
    UNION ALL
    SELECT DISTINCT
        'comparisons',
        codes_a || ' with ' || codes_b,
        'codes',
        codes_a
    FROM comparisons
    UNION ALL
    SELECT DISTINCT
        'comparisons',
        codes_a || ' with ' || codes_b,
        'codes',
        codes_b
    FROM comparisons
    UNION ALL
    SELECT DISTINCT
        'comparisons',
        codes_a || ' with ' || codes_b,
        'mask',
        mask
    FROM comparisons
    UNION ALL
    SELECT DISTINCT
        'similarities',
        tensor_a || ' with ' || tensor_b,
        'tensor',
        tensor_a
    FROM similarities
    UNION ALL
    SELECT DISTINCT
        'similarities',
        tensor_a || ' with ' || tensor_b,
        'tensor',
        tensor_b
    FROM similarities
    UNION ALL
    SELECT DISTINCT
        'similarities',
        tensor_a || ' with ' || tensor_b,
        'mask',
        mask
    FROM similarities
    UNION ALL
    SELECT DISTINCT
        'hypotheses',
        run,
        'codes',
        codes
    FROM hypotheses
    UNION ALL
    SELECT DISTINCT
        'hypotheses',
        run,
        'mask',
        mask
    FROM hypotheses
),

known AS (
    SELECT
        'corpus' AS kind,
        corpus AS name
    FROM corpora
    UNION ALL
    SELECT
        'rowset',
        rowset
    FROM rowsets
    UNION ALL
    SELECT
        'model',
        model
    FROM models
    UNION ALL
    SELECT
        'tensor',
        tensor
    FROM tensors
    UNION ALL
    SELECT
        'dictionary',
        dictionary
    FROM dictionaries
    UNION ALL
    SELECT
        'codes',
        codes
    FROM codes
    UNION
    SELECT
        'codes',
        codes
    FROM codes_sets
    UNION ALL
    SELECT
        'mask',
        mask
    FROM masks
)
SELECT
    n.owner,
    n.stored_in || ' name the ' || n.kind || ' ' || n.name || ', which is not there' AS what
FROM named AS n
LEFT JOIN known AS k USING (kind, name)
WHERE k.name IS NULL
ORDER BY n.owner, n.stored_in, n.kind, n.name;
