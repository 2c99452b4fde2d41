-- features_of_document: features that fire in one document, strongest first.
-- in:  firings, tokens_text; $codes text; $document index in the corpus of the codes; $by text, 'max', 'sum' or 'count'; $limit
-- out: feature, n_fires (rows of the document), max_value, sum_value, max_row, max_text (the text of that row); all rows count, specials too
WITH asked AS (
    SELECT
        CASE
            WHEN $by IN ('max', 'sum', 'count') THEN $by
            ELSE error('cannot rank features by ' || $by || '; $by is max, sum or count')
        END AS ranked_by
),

fired AS (
    SELECT
        rowset,
        feature,
        count(*) AS n_fires,
        max(value) AS max_value,
        sum(value) AS sum_value,
        arg_max("row", (value, -"row")) AS max_row
    FROM firings
    WHERE codes = $codes AND document = $document
    GROUP BY rowset, feature
),

ranked AS (
    SELECT
        f.rowset,
        f.feature,
        f.n_fires,
        f.max_value,
        f.sum_value,
        f.max_row,
        CASE a.ranked_by
            WHEN 'max' THEN f.max_value
            WHEN 'sum' THEN f.sum_value
            ELSE f.n_fires
        END::DOUBLE AS by_value
    FROM asked AS a
    LEFT JOIN fired AS f ON TRUE
)
SELECT
    r.feature,
    r.n_fires,
    r.max_value,
    r.sum_value,
    r.max_row,
    t.text AS max_text
FROM ranked AS r
INNER JOIN tokens_text AS t ON t.rowset = r.rowset AND t."row" = r.max_row
ORDER BY r.by_value DESC, r.feature
LIMIT $limit;
