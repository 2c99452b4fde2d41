-- coverage_of_tensor: every planned shard of a tensor or of codes, and whether it is committed.
-- in:  shard_coverage, shards, runs; $tensor text, the name of a tensor or of codes
-- out: kind, name, shard, row_start, row_stop, committed, bytes (of all its arrays, 0 if missing), run, started (of that run, UTC)
WITH planned AS (
    SELECT
        kind,
        name,
        id,
        unnest(range(shards_planned)) AS shard,
        shard_rows,
        rows_planned
    FROM shard_coverage
    WHERE name = $tensor
),

committed AS (
    SELECT
        p.id,
        p.shard,
        sum(s.bytes) AS bytes,
        max(s.run) AS run
    FROM planned AS p
    INNER JOIN shards AS s ON s.owner = p.id AND s.shard = p.shard
    GROUP BY p.id, p.shard
)
SELECT
    p.kind,
    p.name,
    p.shard,
    p.shard * p.shard_rows AS row_start,
    least((p.shard + 1) * p.shard_rows, p.rows_planned) AS row_stop,
    c.shard IS NOT NULL AS committed,
    coalesce(c.bytes, 0)::BIGINT AS bytes,
    c.run,
    r.started
FROM planned AS p
LEFT JOIN committed AS c ON c.id = p.id AND c.shard = p.shard
LEFT JOIN runs AS r ON r.run = c.run
ORDER BY p.kind, p.name, p.shard;
