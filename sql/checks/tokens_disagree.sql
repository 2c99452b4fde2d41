-- tokens_disagree: rowsets whose rows in the table tokens are not each of 0 to rows - 1 once.
-- in:  rowsets, tokens
-- out: owner (rowset), what is wrong
-- Which of 64 rows there are, as bits: a hundredth of the memory of count(DISTINCT "row").
WITH counted_by_64 AS (
    SELECT
        rowset,
        count(*) AS n,
        bit_or(1::UBIGINT << ("row" & 63)::UBIGINT) AS present,
        min("row") AS first_row,
        max("row") AS last_row
    FROM tokens
    GROUP BY rowset, "row" >> 6
),

counted AS (
    SELECT
        rowset,
        sum(n) AS n,
        coalesce(sum(bit_count(present)), 0) AS n_distinct,
        min(first_row) AS first_row,
        max(last_row) AS last_row
    FROM counted_by_64
    GROUP BY rowset
)
SELECT
    r.rowset AS owner,
    'has ' || r.rows || ' rows and tokens has ' || coalesce(c.n, 0)
    || coalesce(
        ', of which ' || c.n_distinct || ' differ, from row ' || c.first_row || ' to '
        || c.last_row,
        ''
    ) AS what
FROM rowsets AS r
LEFT JOIN counted AS c USING (rowset)
WHERE
    coalesce(c.n, 0) <> r.rows
    OR c.n_distinct <> r.rows
    OR c.first_row <> 0
    OR c.last_row <> r.rows - 1
ORDER BY r.rowset;
