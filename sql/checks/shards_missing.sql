-- shards_missing: shards that a rowset, or a sealed tensor or codes, must have and has not; and arrays of codes, or of a tensor in int8, without the others of their shard, sealed or not.
-- in:  shards, rowsets, tensors, codes
-- out: owner (name), what is wrong; one row an array
WITH owners AS (
    SELECT
        'rowset' AS kind,
        rowset AS name,
        id,
        rowset,
        TRUE AS is_complete
    FROM rowsets
    UNION ALL
    SELECT
        if(dtype = 'int8', 'int8 tensor', 'tensor'),
        tensor,
        id,
        rowset,
        state = 'sealed'
    FROM tensors
    UNION ALL
    SELECT
        'codes',
        codes,
        id,
        rowset,
        state = 'sealed'
    FROM codes
),

needed AS (
    SELECT
        kind,
        "array"
    FROM (
        VALUES
        ('rowset', 'document'),
        ('rowset', 'window'),
        ('rowset', 'position'),
        ('rowset', 'window_position'),
        ('rowset', 'token_id'),
        ('rowset', 'char_start'),
        ('rowset', 'char_stop'),
        ('rowset', 'is_special'),
        ('tensor', 'rows'),
        ('int8 tensor', 'rows'),
        ('int8 tensor', 'scale'),
        ('codes', 'indptr'),
        ('codes', 'indices'),
        ('codes', 'values'),
        ('codes', 'postings')
    ) AS arrays (kind, "array")
),

planned AS (
    SELECT
        o.kind,
        o.name,
        o.id,
        n."array",
        o.is_complete,
        unnest(range((r.rows + r.shard_rows - 1) // r.shard_rows)) AS shard
    FROM owners AS o
    INNER JOIN rowsets AS r USING (rowset)
    INNER JOIN needed AS n ON n.kind = o.kind
),

-- Whether any array of the shard is there decides for what is still being written.
begun AS (
    SELECT DISTINCT
        owner,
        shard
    FROM shards
),

absent AS (
    SELECT
        p.name,
        p."array",
        p.shard
    FROM planned AS p
    LEFT JOIN begun AS b ON b.owner = p.id AND b.shard = p.shard
    LEFT JOIN shards AS s ON s.owner = p.id AND s."array" = p."array" AND s.shard = p.shard
    WHERE s.owner IS NULL AND (p.is_complete OR b.owner IS NOT NULL)
)
SELECT
    name AS owner,
    count(*) || ' shards of ' || "array" || ' are missing, the first is shard ' || min(shard)
    AS what
FROM absent
GROUP BY name, "array"
ORDER BY name, "array";
