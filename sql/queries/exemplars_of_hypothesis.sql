-- exemplars_of_hypothesis: the documents in which the feature of a hypothesis is strongest, with their value of the label.
-- in:  hypotheses, codes, postings, tokens, rowsets, documents, labels; $run text; $feature; $limit
-- out: document, source_id, label (its value of the target as text, NULL if it has none), strongest (largest value on its rows), firing_rows, text (its first 400 characters)
WITH asked AS (
    SELECT DISTINCT
        h.target,
        h.feature,
        c.codes,
        c.rowset,
        r.corpus
    FROM hypotheses AS h
    INNER JOIN codes AS c USING (codes)
    INNER JOIN rowsets AS r USING (rowset)
    WHERE h.run = $run AND h.feature = $feature
),

firing AS (
    SELECT
        a.corpus,
        a.target,
        t.document,
        max(p.value) AS strongest,
        count(*) AS firing_rows
    FROM asked AS a
    INNER JOIN postings AS p ON p.codes = a.codes AND p.feature = a.feature
    INNER JOIN tokens AS t ON t.rowset = a.rowset AND t."row" = p."row"
    GROUP BY a.corpus, a.target, t.document
)
SELECT
    f.document,
    d.source_id,
    l.value_text AS label,
    f.strongest,
    f.firing_rows,
    left(d.text, 400) AS text
FROM firing AS f
INNER JOIN documents AS d USING (corpus, document)
LEFT JOIN labels AS l
    ON
        l.corpus = f.corpus AND l.document = f.document AND l.label = f.target
        AND l.char_start IS NULL
ORDER BY f.strongest DESC, f.document
LIMIT $limit;
