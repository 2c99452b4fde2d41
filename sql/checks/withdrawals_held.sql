-- withdrawals_held: documents that were withdrawn and of which a table still says something.
-- in:  withdrawals, corpora, documents, labels, tokens, rowsets, postings, codes
-- out: owner (corpus and document), what is wrong
WITH withdrawn AS (
    -- A corpus that was deleted and made again since is another one.
    SELECT
        w.corpus,
        w.document
    FROM withdrawals AS w
    INNER JOIN corpora AS c USING (corpus)
    WHERE w.run > c.run
),

-- Rows of a token table that is large are looked at only where a document was withdrawn.
withdrawn_rows AS (
    SELECT
        r.rowset,
        t."row",
        t.token_id,
        t.char_stop,
        w.corpus,
        w.document
    FROM withdrawn AS w
    INNER JOIN rowsets AS r USING (corpus)
    INNER JOIN tokens AS t ON t.rowset = r.rowset AND t.document = w.document
),

held AS (
    SELECT
        w.corpus,
        w.document,
        'its text' AS what
    FROM withdrawn AS w
    INNER JOIN documents AS d USING (corpus, document)
    WHERE d.text <> ''
    UNION ALL
    SELECT DISTINCT
        w.corpus,
        w.document,
        'the label ' || l.label
    FROM withdrawn AS w
    INNER JOIN labels AS l USING (corpus, document)
    UNION ALL
    SELECT DISTINCT
        corpus,
        document,
        'tokens of ' || rowset
    FROM withdrawn_rows
    WHERE token_id IS NOT NULL OR char_stop > 0
    UNION ALL
    SELECT DISTINCT
        w.corpus,
        w.document,
        'postings of ' || c.codes
    FROM withdrawn_rows AS w
    INNER JOIN codes AS c USING (rowset)
    INNER JOIN postings AS p ON p.codes = c.codes AND p."row" = w."row"
)
SELECT
    corpus || ', document ' || document AS owner,
    'was withdrawn and ' || what || ' is still there' AS what
FROM held
ORDER BY owner, what;
