-- keys_stored_twice: tables in which a key that should name one row names several.
-- in:  feature_statistics, feature_profiles, feature_positions, features, feature_neighbours, feature_logits, feature_token_sets, feature_histograms, feature_examples, codes_sets, feature_tokens, feature_pairs, feature_families, feature_labels, feature_changes, evaluations, partials, vocabulary, training_logs, training_shards, feature_matches, similarities, hypotheses, hypothesis_exemplars
-- out: owner (codes, tokenizer, dictionary or tensor), what is wrong; one row a table and owner
WITH repeated AS (
    SELECT
        'feature_statistics' AS stored_in,
        codes AS owner,
        count(*) AS n
    FROM feature_statistics
    GROUP BY codes, mask, feature
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'feature_profiles',
        codes,
        count(*)
    FROM feature_profiles
    GROUP BY codes, mask, feature
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'feature_positions',
        codes,
        count(*)
    FROM feature_positions
    GROUP BY codes, mask, feature, position_start
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'features',
        dictionary,
        count(*)
    FROM features
    GROUP BY dictionary, feature
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'feature_neighbours',
        dictionary,
        count(*)
    FROM feature_neighbours
    GROUP BY dictionary, feature, rank
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'feature_logits',
        dictionary,
        count(*)
    FROM feature_logits
    GROUP BY dictionary, feature, kind, rank
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'feature_token_sets',
        dictionary,
        count(*)
    FROM feature_token_sets
    GROUP BY dictionary, feature, token_set
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'feature_histograms',
        codes,
        count(*)
    FROM feature_histograms
    GROUP BY codes, mask, feature, bin
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'feature_examples',
        codes,
        count(*)
    FROM feature_examples
    GROUP BY codes, mask, feature, kind, rank
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'codes_sets',
        codes,
        count(*)
    FROM codes_sets
    GROUP BY codes, mask, member
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'codes_sets',
        codes,
        count(*)
    FROM codes_sets
    GROUP BY codes, mask, place
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'feature_tokens',
        codes,
        count(*)
    FROM feature_tokens
    GROUP BY codes, mask, feature, kind, rank
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'feature_pairs',
        codes,
        count(*)
    FROM feature_pairs
    GROUP BY codes, mask, level, feature_a, rank
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'feature_pairs',
        codes,
        count(*)
    FROM feature_pairs
    GROUP BY codes, mask, level, feature_a, feature_b
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'feature_families',
        codes,
        count(*)
    FROM feature_families
    GROUP BY codes, mask, level, family, feature
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'feature_labels',
        codes,
        count(*)
    FROM feature_labels
    GROUP BY codes, mask, label, value, subset_by, subset, level, pooling, feature
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'feature_changes',
        least(codes_a, codes_b),
        count(*)
    FROM feature_changes
    GROUP BY least(codes_a, codes_b), greatest(codes_a, codes_b), mask, feature
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'partials',
        codes,
        count(*)
    FROM partials
    GROUP BY codes, mask, statistic, shard, code_version
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'evaluations',
        dictionary,
        count(*)
    FROM evaluations
    GROUP BY dictionary, tensor, mask, split, metric
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'training_logs',
        dictionary,
        count(*)
    FROM training_logs
    GROUP BY dictionary, step, metric
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'training_shards',
        dictionary,
        count(*)
    FROM training_shards
    GROUP BY dictionary, shard
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'vocabulary',
        tokenizer,
        count(*)
    FROM vocabulary
    GROUP BY tokenizer, token_id
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'feature_matches',
        least(codes_a, codes_b),
        count(*)
    FROM feature_matches
    GROUP BY
        least(codes_a, codes_b),
        greatest(codes_a, codes_b),
        mask,
        method,
        CASE best_of WHEN 'a' THEN codes_a ELSE codes_b END,
        CASE best_of WHEN 'a' THEN feature_a ELSE feature_b END
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'similarities',
        least(tensor_a, tensor_b),
        count(*)
    FROM similarities
    GROUP BY least(tensor_a, tensor_b), greatest(tensor_a, tensor_b), mask, method
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'hypotheses',
        codes,
        count(*)
    FROM hypotheses
    GROUP BY run, codes, feature
    HAVING count(*) > 1
    UNION ALL
    SELECT
        'hypothesis_exemplars',
        codes,
        count(*)
    FROM hypothesis_exemplars
    GROUP BY run, codes, feature, rank
    HAVING count(*) > 1
)
SELECT
    owner,
    count(*) || ' keys have several rows in ' || stored_in AS what
FROM repeated
GROUP BY owner, stored_in
ORDER BY owner, stored_in;
