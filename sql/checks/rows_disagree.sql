-- rows_disagree: tensors and codes that have another number of rows than their rowset, or that are sealed with shards that do not add up to it.
-- in:  tensors, codes, rowsets, shards
-- out: owner (name), what is wrong
WITH owners AS (
    SELECT
        tensor AS name,
        id,
        rowset,
        state,
        rows,
        'rows' AS counted_array
    FROM tensors
    UNION ALL
    SELECT
        codes,
        id,
        rowset,
        state,
        rows,
        'values'
    FROM codes
),

committed AS (
    SELECT
        owner,
        "array",
        sum(row_stop - row_start) AS rows
    FROM shards
    GROUP BY owner, "array"
),

faults AS (
    SELECT
        o.name AS owner,
        'has ' || o.rows || ' rows and its rowset ' || o.rowset || ' has ' || r.rows AS what
    FROM owners AS o
    INNER JOIN rowsets AS r USING (rowset)
    WHERE o.rows <> r.rows
    UNION ALL
    SELECT
        o.name,
        'is sealed with ' || o.rows || ' rows and its shards hold ' || coalesce(c.rows, 0)
    FROM owners AS o
    LEFT JOIN committed AS c ON c.owner = o.id AND c."array" = o.counted_array
    WHERE o.state = 'sealed' AND coalesce(c.rows, 0) <> o.rows
)
SELECT
    owner,
    what
FROM faults
ORDER BY owner, what;
