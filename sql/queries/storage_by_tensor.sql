-- storage_by_tensor: bytes of every array, and of the postings and partials, by what they belong to.
-- in:  shards, rowsets, tensors, codes, partials
-- out: kind (rowset, tensor, codes or partials), name, array (for partials the statistic), files, bytes, bytes_per_row (over the rows they cover); largest first
WITH owners AS (
    SELECT
        'rowset' AS kind,
        rowset AS name,
        id
    FROM rowsets
    UNION ALL
    SELECT
        'tensor',
        tensor,
        id
    FROM tensors
    UNION ALL
    SELECT
        'codes',
        codes,
        id
    FROM codes
),

stored AS (
    SELECT
        coalesce(o.kind, 'unknown') AS kind,
        coalesce(o.name, s.owner) AS name,
        s."array",
        s.bytes,
        s.row_stop - s.row_start AS rows
    FROM shards AS s
    LEFT JOIN owners AS o ON o.id = s.owner
    UNION ALL
    SELECT
        'partials',
        p.codes,
        p.statistic,
        p.bytes,
        NULL
    FROM partials AS p
)
SELECT
    kind,
    name,
    "array",
    count(*) AS files,
    sum(bytes)::BIGINT AS bytes,
    sum(bytes) / sum(rows) AS bytes_per_row
FROM stored
GROUP BY kind, name, "array"
ORDER BY bytes DESC, kind, name, "array";
