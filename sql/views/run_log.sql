-- run_log: every run, how long it took, and what it wrote.
-- in:  runs and every table with a column run
-- out: run, flow, state, error, started and ended (UTC), seconds (NULL until it ends), snapshot_before, snapshot_after, code_version, host, parameters, prefect_run (NULL outside Prefect), author (the user), names (what it made, with its kind, separated by commas; NULL if nothing that has a name); then how many rows it wrote of each kind, and shard_bytes
CREATE OR REPLACE VIEW run_log AS
WITH written AS (
    SELECT
        run,
        'model' AS kind,
        count(*) AS n,
        0 AS bytes
    FROM models
    GROUP BY run
    UNION ALL
    SELECT
        run,
        'corpus',
        count(*),
        0
    FROM corpora
    GROUP BY run
    UNION ALL
    SELECT
        run,
        'rowset',
        count(*),
        0
    FROM rowsets
    GROUP BY run
    UNION ALL
    SELECT
        run,
        'tensor',
        count(*),
        0
    FROM tensors
    GROUP BY run
    UNION ALL
    SELECT
        run,
        'dictionary',
        count(*),
        0
    FROM dictionaries
    GROUP BY run
    UNION ALL
    SELECT
        run,
        'codes',
        count(*),
        0
    FROM codes
    GROUP BY run
    UNION ALL
    SELECT
        run,
        'shard',
        count(*),
        sum(bytes)
    FROM shards
    GROUP BY run
    UNION ALL
    SELECT
        run,
        'partial',
        count(*),
        0
    FROM partials
    GROUP BY run
    UNION ALL
    SELECT
        run,
        'feature_statistics',
        count(*),
        0
    FROM feature_statistics
    GROUP BY run
    UNION ALL
    SELECT
        run,
        'evaluation',
        count(*),
        0
    FROM evaluations
    GROUP BY run
    UNION ALL
    SELECT
        run,
        'match',
        count(*),
        0
    FROM feature_matches
    GROUP BY run
    UNION ALL
    SELECT
        run,
        'similarity',
        count(*),
        0
    FROM similarities
    GROUP BY run
    UNION ALL
    SELECT
        run,
        'hypothesis',
        count(*),
        0
    FROM hypotheses
    GROUP BY run
),

named AS (
    SELECT
        run,
        'model ' || model AS name
    FROM models
    UNION ALL
    SELECT
        run,
        'corpus ' || corpus
    FROM corpora
    UNION ALL
    SELECT
        run,
        'rowset ' || rowset
    FROM rowsets
    UNION ALL
    SELECT
        run,
        'tensor ' || tensor
    FROM tensors
    UNION ALL
    SELECT
        run,
        'dictionary ' || dictionary
    FROM dictionaries
    UNION ALL
    SELECT
        run,
        'codes ' || codes
    FROM codes
    UNION ALL
    SELECT DISTINCT
        run,
        'statistics of ' || codes || ' under ' || mask
    FROM feature_statistics
    UNION ALL
    SELECT DISTINCT
        run,
        'withdrawal from ' || corpus
    FROM withdrawals
),

listed AS (
    SELECT
        run,
        string_agg(name, ', ' ORDER BY name) AS names
    FROM named
    GROUP BY run
),

totals AS (
    SELECT
        run,
        sum(n) FILTER (WHERE kind = 'model') AS models,
        sum(n) FILTER (WHERE kind = 'corpus') AS corpora,
        sum(n) FILTER (WHERE kind = 'rowset') AS rowsets,
        sum(n) FILTER (WHERE kind = 'tensor') AS tensors,
        sum(n) FILTER (WHERE kind = 'dictionary') AS dictionaries,
        sum(n) FILTER (WHERE kind = 'codes') AS codes,
        sum(n) FILTER (WHERE kind = 'shard') AS shards,
        sum(n) FILTER (WHERE kind = 'partial') AS partials,
        sum(n) FILTER (WHERE kind = 'feature_statistics') AS feature_statistics,
        sum(n) FILTER (WHERE kind = 'evaluation') AS evaluations,
        sum(n) FILTER (WHERE kind = 'match') AS feature_matches,
        sum(n) FILTER (WHERE kind = 'similarity') AS similarities,
        sum(n) FILTER (WHERE kind = 'hypothesis') AS hypotheses,
        sum(bytes) AS shard_bytes
    FROM written
    GROUP BY run
)
SELECT
    r.run,
    r.flow,
    r.state,
    r.error,
    r.started,
    r.ended,
    date_diff('microsecond', r.started, r.ended) / 1e6 AS seconds,
    r.snapshot_before,
    r.snapshot_after,
    r.code_version,
    r.host,
    r.parameters,
    r.prefect_run,
    r.author,
    l.names,
    coalesce(t.models, 0)::BIGINT AS models,
    coalesce(t.corpora, 0)::BIGINT AS corpora,
    coalesce(t.rowsets, 0)::BIGINT AS rowsets,
    coalesce(t.tensors, 0)::BIGINT AS tensors,
    coalesce(t.dictionaries, 0)::BIGINT AS dictionaries,
    coalesce(t.codes, 0)::BIGINT AS codes,
    coalesce(t.shards, 0)::BIGINT AS shards,
    coalesce(t.partials, 0)::BIGINT AS partials,
    coalesce(t.feature_statistics, 0)::BIGINT AS feature_statistics,
    coalesce(t.evaluations, 0)::BIGINT AS evaluations,
    coalesce(t.feature_matches, 0)::BIGINT AS feature_matches,
    coalesce(t.similarities, 0)::BIGINT AS similarities,
    coalesce(t.hypotheses, 0)::BIGINT AS hypotheses,
    coalesce(t.shard_bytes, 0)::BIGINT AS shard_bytes
FROM runs AS r
LEFT JOIN totals AS t USING (run)
LEFT JOIN listed AS l USING (run);
