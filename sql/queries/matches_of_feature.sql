-- matches_of_feature: the partners of a feature in all codes that it was compared with, and the strongest rows of both.
-- in:  feature_matches, feature_examples, codes, tokens_text; $codes, $mask text; $feature; $limit strongest rows of each
-- out: other_codes, other_feature, method, is_mutual, score, margin, p, q, null_mean (a best partner's score by chance), contexts and other_contexts (lists of text around the strongest rows, the row in «»); mutual and better first
WITH partners AS (
    SELECT
        codes_b AS other_codes,
        feature_b AS other_feature,
        method,
        is_mutual,
        score,
        margin,
        p,
        q,
        null_mean
    FROM feature_matches
    WHERE
        codes_a = $codes AND feature_a = $feature AND mask = $mask AND best_of = 'a'
        AND feature_b IS NOT NULL
    UNION ALL
    SELECT
        codes_a,
        feature_a,
        method,
        is_mutual,
        score,
        margin,
        p,
        q,
        null_mean
    FROM feature_matches
    WHERE
        codes_b = $codes AND feature_b = $feature AND mask = $mask AND best_of = 'b'
        AND feature_a IS NOT NULL
),

shown AS (
    SELECT
        $codes AS codes,
        $feature AS feature
    UNION
    SELECT
        other_codes,
        other_feature
    FROM partners
),

-- Codes that are not summarized under the mask, such as those of documents, show another one's.
masks_shown AS (
    SELECT
        e.codes,
        arg_min(e.mask, (e.mask <> $mask, e.mask)) AS mask
    FROM feature_examples AS e
    WHERE e.codes IN (SELECT s.codes FROM shown AS s)
    GROUP BY e.codes
),

examples AS (
    SELECT
        e.codes,
        e.feature,
        e."row",
        e.value
    FROM feature_examples AS e
    INNER JOIN shown AS s ON s.codes = e.codes AND s.feature = e.feature
    INNER JOIN masks_shown AS m ON m.codes = e.codes AND m.mask = e.mask
    WHERE e.kind = 'top' AND e.rank <= $limit
),

texts AS (
    SELECT
        e.codes,
        e.feature,
        list(
            '…' || substring(d.text, greatest(t.char_start - 60, 0) + 1, least(t.char_start, 60))
            || '«' || left(t.text, 200) || '»' || substring(d.text, t.char_stop + 1, 40) || '…'
            ORDER BY e.value DESC, e."row"
        ) AS contexts
    FROM examples AS e
    INNER JOIN codes AS c USING (codes)
    INNER JOIN tokens_text AS t ON t.rowset = c.rowset AND t."row" = e."row"
    INNER JOIN documents AS d ON d.corpus = t.corpus AND d.document = t.document
    GROUP BY e.codes, e.feature
)
SELECT
    p.other_codes,
    p.other_feature,
    p.method,
    p.is_mutual,
    p.score,
    p.margin,
    p.p,
    p.q,
    p.null_mean,
    ours.contexts,
    theirs.contexts AS other_contexts
FROM partners AS p
LEFT JOIN texts AS ours ON ours.codes = $codes AND ours.feature = $feature
LEFT JOIN texts AS theirs ON theirs.codes = p.other_codes AND theirs.feature = p.other_feature
ORDER BY p.is_mutual DESC, p.score DESC, p.other_codes, p.method;
