-- firing_by_label: how often and how strongly a feature fires on the documents of each value of a label.
-- in:  codes, rowsets, tokens, labels, postings; $codes, $label text; $feature
-- out: value (of the label, as text), n_documents, n_documents_firing, n_rows and n_fires (specials left out), density = n_fires / n_rows, mean_active (over firing rows, NULL if none), mean_all (over all rows, zeros counted)
--
-- A look, not a test: rows of one document are not independent, so compare documents, not rows,
-- before believing a difference.
WITH labelled AS (
    SELECT
        c.codes,
        t."row",
        t.document,
        l.value_text AS value
    FROM codes AS c
    INNER JOIN rowsets AS r USING (rowset)
    INNER JOIN tokens AS t USING (rowset)
    INNER JOIN labels AS l ON l.corpus = r.corpus AND l.document = t.document
    WHERE
        c.codes = $codes
        AND l.label = $label
        AND l.char_start IS NULL
        AND NOT t.is_special
),

fired AS (
    SELECT
        p."row",
        p.value AS strength
    FROM postings AS p
    WHERE p.codes = $codes AND p.feature = $feature
)
SELECT
    l.value,
    count(DISTINCT l.document) AS n_documents,
    count(DISTINCT l.document) FILTER (WHERE f.strength > 0) AS n_documents_firing,
    count(*) AS n_rows,
    count(f.strength) AS n_fires,
    count(f.strength) / count(*) AS density,
    avg(f.strength) AS mean_active,
    coalesce(sum(f.strength), 0) / count(*) AS mean_all
FROM labelled AS l
LEFT JOIN fired AS f USING ("row")
GROUP BY l.value
ORDER BY density DESC, l.value;
