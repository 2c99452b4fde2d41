-- documents_disagree: corpora whose documents are not each of 0 to documents - 1 once, or share a source id.
-- in:  corpora, documents
-- out: owner (corpus), what is wrong
WITH counted AS (
    SELECT
        corpus,
        count(*) AS n,
        count(DISTINCT document) AS n_distinct,
        count(DISTINCT source_id) AS n_source_ids,
        min(document) AS first_document,
        max(document) AS last_document
    FROM documents
    GROUP BY corpus
),

faults AS (
    SELECT
        k.corpus AS owner,
        'has ' || k.documents || ' documents and the table has ' || coalesce(c.n, 0)
        || coalesce(
            ', of which ' || c.n_distinct || ' differ, from ' || c.first_document || ' to '
            || c.last_document,
            ''
        ) AS what
    FROM corpora AS k
    LEFT JOIN counted AS c USING (corpus)
    WHERE
        coalesce(c.n, 0) <> k.documents
        OR c.n_distinct <> k.documents
        OR c.first_document <> 0
        OR c.last_document <> k.documents - 1
    UNION ALL
    SELECT
        corpus,
        'has ' || n || ' documents and ' || n_source_ids || ' source ids'
    FROM counted
    WHERE n_source_ids <> n
)
SELECT
    owner,
    what
FROM faults
ORDER BY owner, what;
