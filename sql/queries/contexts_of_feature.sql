-- contexts_of_feature: the examples of a feature of one kind with the text around them.
-- in:  feature_examples, codes, tokens, tokens_text, documents; $codes, $mask text; $feature; $kind text: top (the strongest rows), quantile (of each tenth by value), random (it fires), silent, or negative (silent on a token of its own); $limit; $before and $after, rows of the same document
-- out: rank (1 = strongest where kind is top or quantile), row, value (0 where silent), n_alike (rows under the mask with the same tokens on and around them, of which this one stands for all), document, source_id, before, token, after (text; a document row is all token), member (codes that the row is of, where $codes are a set; else NULL)
WITH examples AS (
    SELECT
        e.rank,
        e."row",
        e.value,
        e.n_alike,
        e.member,
        t.rowset,
        t.corpus,
        t.document,
        t.source_id,
        t.is_special,
        t.char_start,
        t.char_stop,
        t.text
    FROM feature_examples AS e
    INNER JOIN codes AS c ON c.codes = coalesce(e.member, e.codes)
    INNER JOIN tokens_text AS t ON t.rowset = c.rowset AND t."row" = e."row"
    WHERE
        e.codes = $codes
        AND e.mask = $mask
        AND e.feature = $feature
        AND e.kind = $kind
        AND e.rank <= $limit
),

-- One row a neighbour, because a join on equal rows is far faster than one on a range of rows.
neighbours AS (
    SELECT
        rank,
        rowset,
        document,
        unnest(range("row" - $before, "row" + $after + 1)) AS "row"
    FROM examples
),

-- Specials have empty spans at places that say nothing about the text around the row.
edges AS (
    SELECT
        n.rank,
        min(t.char_start) AS char_start,
        max(t.char_stop) AS char_stop
    FROM neighbours AS n
    INNER JOIN tokens AS t
        ON t.rowset = n.rowset AND t."row" = n."row" AND t.document = n.document
    WHERE t.char_stop > t.char_start
    GROUP BY n.rank
),

placed AS (
    SELECT
        x.rank,
        x."row",
        x.value,
        x.n_alike,
        x.member,
        x.document,
        x.source_id,
        x.text AS token,
        d.text AS whole,
        coalesce(e.char_start, 0) AS first_char,
        coalesce(e.char_stop, 0) AS last_char,
        -- A row without a span of its own stands before all of the text that is shown.
        CASE WHEN x.char_stop > x.char_start THEN x.char_start END AS own_start,
        CASE WHEN x.char_stop > x.char_start THEN x.char_stop END AS own_stop
    FROM examples AS x
    LEFT JOIN edges AS e USING (rank)
    LEFT JOIN documents AS d ON d.corpus = x.corpus AND d.document = x.document
)
SELECT
    rank,
    "row",
    value,
    n_alike,
    document,
    source_id,
    substring(whole, first_char + 1, coalesce(own_start, first_char) - first_char) AS before,
    token,
    substring(
        whole,
        coalesce(own_stop, first_char) + 1,
        last_char - coalesce(own_stop, first_char)
    ) AS after,
    member
FROM placed
ORDER BY rank;
