-- shard_coverage: how much of each tensor and of each codes is committed.
-- in:  tensors, codes, rowsets, shards
-- out: kind (tensor or codes), name, id, rowset, state, shard_rows, shards_planned, shards_committed, missing (shards), rows_planned, rows_committed, bytes (of all arrays and postings), complete
CREATE OR REPLACE VIEW shard_coverage AS
WITH owners AS (
    SELECT
        'tensor' AS kind,
        tensor AS name,
        id,
        rowset,
        state,
        rows,
        'rows' AS counted_array
    FROM tensors
    UNION ALL
    SELECT
        'codes',
        codes,
        id,
        rowset,
        state,
        rows,
        'indptr'
    FROM codes
),

-- The arrays of a codes shard are committed together, so one of them stands for all.
committed AS (
    SELECT
        o.id,
        count(DISTINCT s.shard) FILTER (WHERE s."array" = o.counted_array) AS shards,
        sum(s.row_stop - s.row_start) FILTER (WHERE s."array" = o.counted_array) AS rows,
        sum(s.bytes) AS bytes
    FROM owners AS o
    INNER JOIN shards AS s ON s.owner = o.id
    GROUP BY o.id
),

counted AS (
    SELECT
        o.kind,
        o.name,
        o.id,
        o.rowset,
        o.state,
        r.shard_rows,
        (o.rows + r.shard_rows - 1) // r.shard_rows AS shards_planned,
        coalesce(c.shards, 0)::BIGINT AS shards_committed,
        o.rows AS rows_planned,
        coalesce(c.rows, 0)::BIGINT AS rows_committed,
        coalesce(c.bytes, 0)::BIGINT AS bytes
    FROM owners AS o
    LEFT JOIN rowsets AS r USING (rowset)
    LEFT JOIN committed AS c ON c.id = o.id
)
SELECT
    kind,
    name,
    id,
    rowset,
    state,
    shard_rows,
    shards_planned,
    shards_committed,
    shards_planned - shards_committed AS missing,
    rows_planned,
    rows_committed,
    bytes,
    shards_committed = shards_planned AND rows_committed = rows_planned AS complete
FROM counted;
