-- exemplars_of_hypothesis: the documents in which the feature of a hypothesis is strongest, with their value of the label.
-- in:  hypothesis_exemplars, codes, rowsets, documents, labels; $run text; $feature; $limit (10 are kept)
-- out: document, source_id, label (its value of the target as text, NULL if it has none), value (of the feature, pooled as the hypothesis was), text (its first 400 characters); strongest first
SELECT
    e.document,
    d.source_id,
    coalesce(l.value_text, regexp_replace(l.value_real::VARCHAR, '\.0$', '')) AS label,
    e.value,
    left(d.text, 400) AS text
FROM hypothesis_exemplars AS e
INNER JOIN codes AS c USING (codes)
INNER JOIN rowsets AS r USING (rowset)
INNER JOIN documents AS d ON d.corpus = r.corpus AND d.document = e.document
LEFT JOIN labels AS l
    ON
        l.corpus = r.corpus AND l.document = e.document AND l.label = e.target
        AND l.char_start IS NULL
WHERE e.run = $run AND e.feature = $feature
ORDER BY e.rank
LIMIT $limit;
