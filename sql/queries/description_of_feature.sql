-- description_of_feature: what a feature does, and how sure that is, as one fact a row.
-- in:  feature_summary, feature_tokens, feature_logits, codes_and_sets, vocabulary, run_log; $codes, $mask text; $feature
-- out: place (order to read in), fact, value (text): what the feature is made of, its flags, how often and how strongly it fires, its tokens, what it does to logits, and what the numbers rest on; facts that are not known have no row
WITH one AS (
    SELECT
        s.codes,
        s.dictionary,
        s.mask,
        s.feature,
        s.n_rows,
        s.n_fires,
        s.density,
        s.n_documents,
        s.n_documents_fires,
        s.consistent_activation,
        s.n_sources,
        s.n_sources_fires,
        s.gini_sources,
        s.q50_active,
        s.max_active,
        s.token_entropy,
        s.top_token_share,
        s.position_bits,
        s.position_peak,
        s.position_lift,
        s.burstiness,
        s.nearest_decoder,
        s.nearest_decoder_cosine,
        s.nearest_decoder_p,
        s.run,
        s.method,
        s.tensor,
        concat_ws(
            ', ',
            CASE WHEN s.is_dead THEN 'dead' END,
            CASE WHEN s.is_rare THEN 'rare' END,
            CASE WHEN s.is_ultra_low_density THEN 'ultra-low density' END,
            CASE WHEN s.is_dense THEN 'dense' END,
            CASE WHEN s.is_always_on THEN 'always on' END,
            CASE WHEN s.is_single_token THEN 'single token' END,
            CASE WHEN s.is_positional THEN 'positional' END,
            CASE WHEN s.is_duplicate THEN 'duplicate' END
        ) AS flags,
        -- Wilson's interval at 95 %: rows of a document are not independent, so the true one is wider.
        (s.n_fires + 1.920729) / (s.n_rows + 3.841459) AS centre,
        1.959964 * sqrt(s.n_fires * (1 - s.density) + 0.960365) / (s.n_rows + 3.841459) AS reach
    FROM feature_summary AS s
    WHERE s.codes = $codes AND s.mask = $mask AND s.feature = $feature
),

tokens AS (
    SELECT
        t.kind,
        string_agg(
            replace(v.text, ' ', '␣')
            || CASE t.kind WHEN 'mean' THEN format(' {:.3g}', t.mean) ELSE ' ×' || t.count END,
            '  ' ORDER BY t.rank
        ) AS shown
    FROM feature_tokens AS t
    INNER JOIN codes_and_sets AS c USING (codes)
    INNER JOIN vocabulary AS v ON v.tokenizer = c.tokenizer AND v.token_id = t.token_id
    WHERE t.codes = $codes AND t.mask = $mask AND t.feature = $feature AND t.rank <= 8
    GROUP BY t.kind
),

effects AS (
    SELECT
        l.kind,
        string_agg(replace(v.text, ' ', '␣'), '  ' ORDER BY l.rank) AS shown
    FROM feature_logits AS l
    INNER JOIN codes_and_sets AS c USING (dictionary)
    INNER JOIN vocabulary AS v ON v.tokenizer = c.tokenizer AND v.token_id = l.token_id
    WHERE c.codes = $codes AND l.feature = $feature AND l.rank <= 8
    GROUP BY l.kind
),

facts AS (
    SELECT
        1 AS place,
        'made of' AS fact,
        dictionary || ' (' || method || ')' || coalesce(' of ' || tensor, ', over a set of codes')
        AS value
    FROM one
    UNION ALL
    SELECT
        2,
        'is',
        nullif(flags, '')
    FROM one
    UNION ALL
    SELECT
        3,
        'fires on',
        n_fires || ' of ' || n_rows || ' rows under ' || mask || ', density ' || format('{:.3g}', density)
        || ' (95 % interval ' || format('{:.3g}', centre - reach) || ' to '
        || format('{:.3g}', centre + reach) || ')'
    FROM one
    UNION ALL
    SELECT
        4,
        'in documents',
        n_documents_fires || ' of ' || n_documents || ', '
        || format('{:.3g}', consistent_activation) || ' rows each'
        || coalesce(
            ', in ' || n_sources_fires || ' of ' || n_sources || ' sources, Gini '
            || format('{:.3g}', gini_sources),
            ''
        )
    FROM one
    UNION ALL
    SELECT
        5,
        'strength',
        'median ' || format('{:.3g}', q50_active) || ', largest ' || format('{:.3g}', max_active)
    FROM one
    UNION ALL
    SELECT
        CASE kind
            WHEN 'count' THEN 6
            WHEN 'lift' THEN 7
            WHEN 'mean' THEN 8
            WHEN 'previous' THEN 9
            WHEN 'next' THEN 10
        END,
        CASE kind
            WHEN 'count' THEN 'tokens'
            WHEN 'lift' THEN 'tokens for their frequency'
            WHEN 'mean' THEN 'tokens by mean value'
            WHEN 'previous' THEN 'comes after'
            WHEN 'next' THEN 'comes before'
        END,
        shown
    FROM tokens
    WHERE kind IN ('count', 'lift', 'mean', 'previous', 'next')
    UNION ALL
    SELECT
        11,
        'token entropy',
        format('{:.3g}', token_entropy) || ' bits, top token ' || format('{:.3g}', top_token_share)
        || ' of firings'
    FROM one
    UNION ALL
    SELECT
        12,
        'position',
        format('{:.3g}', position_bits) || ' bits, most from position ' || position_peak || ', ×'
        || format('{:.3g}', position_lift)
        || coalesce(', burstiness ' || format('{:.3g}', burstiness), '')
    FROM one
    UNION ALL
    SELECT
        CASE kind WHEN 'top' THEN 13 ELSE 14 END,
        CASE kind WHEN 'top' THEN 'raises' ELSE 'lowers' END,
        shown
    FROM effects
    UNION ALL
    SELECT
        15,
        'nearest feature',
        nearest_decoder || ', cosine ' || format('{:.3g}', nearest_decoder_cosine)
        || ', p ' || format('{:.2g}', nearest_decoder_p)
    FROM one
    UNION ALL
    SELECT
        16,
        'computed by',
        'run ' || o.run || ', actlake ' || l.code_version || ', snapshot ' || l.snapshot_after
    FROM one AS o
    INNER JOIN run_log AS l USING (run)
)
SELECT
    place,
    fact,
    value
FROM facts
WHERE value IS NOT NULL
ORDER BY place;
