-- spans_outside_text: tokens and labels whose characters are not a span of their document's text.
-- in:  tokens, labels, rowsets, documents
-- out: owner (rowset, or corpus and label), what is wrong
WITH lengths AS (
    SELECT
        corpus,
        document,
        length(text) AS characters
    FROM documents
),

faults AS (
    SELECT
        t.rowset AS owner,
        count(*) || ' rows have characters outside their document, the first is row '
        || min(t."row") AS what
    FROM tokens AS t
    INNER JOIN rowsets AS r USING (rowset)
    INNER JOIN lengths AS n ON n.corpus = r.corpus AND n.document = t.document
    WHERE t.char_start < 0 OR t.char_stop < t.char_start OR t.char_stop > n.characters
    GROUP BY t.rowset
    UNION ALL
    SELECT
        l.corpus || ', label ' || l.label,
        count(*) || ' spans are not inside their document, the first is of document '
        || min(l.document)
    FROM labels AS l
    INNER JOIN lengths AS n USING (corpus, document)
    WHERE
        (l.char_start IS NULL) <> (l.char_stop IS NULL)
        OR l.char_start < 0
        OR l.char_stop < l.char_start
        OR l.char_stop > n.characters
        -- No characters and no value: the document was looked at, and has no span.
        OR (l.char_stop = l.char_start AND (l.char_stop > 0 OR l.value_text IS NOT NULL))
        OR (l.char_stop > l.char_start AND l.value_text IS NULL)
    GROUP BY l.corpus, l.label
)
SELECT
    owner,
    what
FROM faults
ORDER BY owner, what;
