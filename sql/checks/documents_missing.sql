-- documents_missing: tokens and labels of documents that their corpus has not.
-- in:  tokens, labels, rowsets, documents
-- out: owner (rowset, or corpus and label), what is wrong
WITH named AS (
    SELECT DISTINCT
        t.rowset AS owner,
        r.corpus,
        t.document
    FROM tokens AS t
    INNER JOIN rowsets AS r USING (rowset)
    UNION ALL
    SELECT DISTINCT
        l.corpus || ', label ' || l.label,
        l.corpus,
        l.document
    FROM labels AS l
)
SELECT
    n.owner,
    count(*) || ' documents are not in corpus ' || n.corpus || ', the first is ' || min(n.document)
    AS what
FROM named AS n
LEFT JOIN documents AS d USING (corpus, document)
WHERE d.document IS NULL
GROUP BY n.owner, n.corpus
ORDER BY n.owner;
