-- postings_disagree: codes whose postings are not as many as their stored values, or do not fit them.
-- in:  codes, postings
-- out: owner (codes), what is wrong
WITH counted AS (
    SELECT
        c.codes,
        count(p.codes) AS n,
        count(*) FILTER (WHERE p."row" < 0 OR p."row" >= c.rows) AS n_outside_rows,
        count(*) FILTER (WHERE p.feature < 0 OR p.feature >= c.n_features) AS n_outside_features,
        count(*) FILTER (WHERE NOT (p.value > 0 AND isfinite(p.value))) AS n_outside_values
    FROM codes AS c
    LEFT JOIN postings AS p USING (codes)
    GROUP BY c.codes
),

faults AS (
    SELECT
        c.codes AS owner,
        'is sealed with ' || coalesce(c.nnz::VARCHAR, 'no count of') || ' values and has ' || n.n
        || ' postings' AS what
    FROM codes AS c
    INNER JOIN counted AS n USING (codes)
    WHERE c.state = 'sealed' AND c.nnz IS DISTINCT FROM n.n
    UNION ALL
    SELECT
        codes,
        n_outside_rows || ' postings name a row that the rowset has not'
    FROM counted
    WHERE n_outside_rows > 0
    UNION ALL
    SELECT
        codes,
        n_outside_features || ' postings name a feature that the dictionary has not'
    FROM counted
    WHERE n_outside_features > 0
    UNION ALL
    SELECT
        codes,
        n_outside_values || ' postings have a value that is not finite and positive'
    FROM counted
    WHERE n_outside_values > 0
)
SELECT
    owner,
    what
FROM faults
ORDER BY owner, what;
