-- shards_off_grid: shards whose rows are not those that the rowset's grid gives to their number, so that they overlap others, leave a gap, or lie outside.
-- in:  shards, rowsets, tensors, codes
-- out: owner (name), what is wrong; one row a shard
WITH owners AS (
    SELECT
        id,
        rowset AS name,
        rowset
    FROM rowsets
    UNION ALL
    SELECT
        id,
        tensor,
        rowset
    FROM tensors
    UNION ALL
    SELECT
        id,
        codes,
        rowset
    FROM codes
),

placed AS (
    SELECT
        o.name,
        s."array",
        s.shard,
        s.row_start,
        s.row_stop,
        s.shard * r.shard_rows AS grid_start,
        least((s.shard + 1) * r.shard_rows, r.rows) AS grid_stop
    FROM shards AS s
    INNER JOIN owners AS o ON o.id = s.owner
    INNER JOIN rowsets AS r ON r.rowset = o.rowset
)
SELECT
    name AS owner,
    'shard ' || shard || ' of ' || "array" || ' has rows ' || row_start || ' to ' || row_stop
    || CASE
        WHEN shard < 0 OR grid_start >= grid_stop THEN ' and is no shard of the grid'
        ELSE ' instead of ' || grid_start || ' to ' || grid_stop
    END AS what
FROM placed
WHERE row_start <> grid_start OR row_stop <> grid_stop OR shard < 0 OR grid_start >= grid_stop
ORDER BY name, "array", shard, row_start;
