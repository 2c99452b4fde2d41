-- runs_missing: rows that say they were written by a run that is not there.
-- in:  runs and every table with a column run
-- out: owner, what is wrong; one row for each owner and missing run
WITH written AS (
    SELECT DISTINCT
        'models' AS stored_in,
        model AS owner,
        run
    FROM models
    UNION ALL
    SELECT DISTINCT
        'corpora',
        corpus,
        run
    FROM corpora
    UNION ALL
    SELECT DISTINCT
        'rowsets',
        rowset,
        run
    FROM rowsets
    UNION ALL
    SELECT DISTINCT
        'tensors',
        tensor,
        run
    FROM tensors
    UNION ALL
    SELECT DISTINCT
        'shards',
        owner,
        run
    FROM shards
    UNION ALL
    SELECT DISTINCT
        'dictionaries',
        dictionary,
        run
    FROM dictionaries
    UNION ALL
    SELECT DISTINCT
        'training_logs',
        dictionary,
        run
    FROM training_logs
    UNION ALL
    SELECT DISTINCT
        'training_shards',
        dictionary,
        run
    FROM training_shards
    UNION ALL
    SELECT DISTINCT
        'codes',
        codes,
        run
    FROM codes
    UNION ALL
    SELECT DISTINCT
        'partials',
        codes,
        run
    FROM partials
    UNION ALL
    SELECT DISTINCT
        'codes_sets',
        codes,
        run
    FROM codes_sets
    UNION ALL
    SELECT DISTINCT
        'feature_statistics',
        codes,
        run
    FROM feature_statistics
    UNION ALL
    SELECT DISTINCT
        'feature_pairs',
        codes,
        run
    FROM feature_pairs
    UNION ALL
    SELECT DISTINCT
        'feature_families',
        codes,
        run
    FROM feature_families
    UNION ALL
    SELECT DISTINCT
        'feature_labels',
        codes,
        run
    FROM feature_labels
    UNION ALL
    SELECT DISTINCT
        'feature_changes',
        codes_a,
        run
    FROM feature_changes
    UNION ALL
    SELECT DISTINCT
        'feature_profiles',
        codes,
        run
    FROM feature_profiles
    UNION ALL
    SELECT DISTINCT
        'features',
        dictionary,
        run
    FROM features
    UNION ALL
    SELECT DISTINCT
        'evaluations',
        dictionary,
        run
    FROM evaluations
    UNION ALL
    SELECT DISTINCT
        'comparisons',
        codes_a,
        run
    FROM comparisons
    UNION ALL
    SELECT DISTINCT
        'feature_matches',
        codes_a,
        run
    FROM feature_matches
    UNION ALL
    SELECT DISTINCT
        'similarities',
        tensor_a,
        run
    FROM similarities
    UNION ALL
    SELECT DISTINCT
        'hypotheses',
        codes,
        run
    FROM hypotheses
    UNION ALL
    SELECT DISTINCT
        'hypothesis_phrases',
        codes,
        run
    FROM hypothesis_phrases
    UNION ALL
    SELECT DISTINCT
        'hypothesis_exemplars',
        codes,
        run
    FROM hypothesis_exemplars
    UNION ALL
    SELECT DISTINCT
        'designs',
        codes,
        run
    FROM designs
)
SELECT
    w.owner,
    'rows of ' || w.stored_in || ' were written by run ' || w.run || ', which is not there' AS what
FROM written AS w
LEFT JOIN runs AS r USING (run)
WHERE r.run IS NULL
ORDER BY w.owner, w.stored_in, w.run;
