-- interaction_of_features: whether two features together tell a value of a label, beyond what each tells alone.
-- in:  codes, rowsets, tokens, labels, postings; $codes, $label, $value text; $feature, $other
-- out: n_documents with the label, n_positive with the value; cells [[feature fires 0/1, other fires 0/1, documents, documents with the value], …]; influence = Σ n_j² (mean_j − mean)² / (n variance) over cells, and influence_by_chance = 1 − Σ (n_j / n)², its mean if the value were dealt out; in nats, plug-in less Miller and Madow's bias, so they may be below 0: information_feature and information_other alone, information_both, information_given_other (of the feature where what the other does is known) and interaction = both − feature − other (below 0: they say the same)
--
-- A document counts as firing if one of its rows does, specials left out. Documents have to be
-- independent; to test what is seen here, use documents that did not suggest it.
-- Source: Chernoff, Lo & Zheng (2009), "Discovering influential variables: a method of partitions".
WITH documents_asked AS (
    SELECT
        l.document,
        max((l.value_text = $value)::INTEGER) AS is_value
    FROM codes AS c
    INNER JOIN rowsets AS r USING (rowset)
    INNER JOIN labels AS l USING (corpus)
    WHERE c.codes = $codes AND l.label = $label AND l.char_start IS NULL
    GROUP BY l.document
),

firing AS (
    SELECT
        t.document,
        max((p.feature = $feature)::INTEGER) AS fires_feature,
        max((p.feature = $other)::INTEGER) AS fires_other
    FROM postings AS p
    INNER JOIN codes AS c USING (codes)
    INNER JOIN tokens AS t ON t.rowset = c.rowset AND t."row" = p."row"
    WHERE p.codes = $codes AND p.feature IN ($feature, $other) AND NOT t.is_special
    GROUP BY t.document
),

cells AS (
    SELECT
        coalesce(f.fires_feature, 0) AS fires_feature,
        coalesce(f.fires_other, 0) AS fires_other,
        count(*) AS n,
        sum(d.is_value)::BIGINT AS n_positive
    FROM documents_asked AS d
    LEFT JOIN firing AS f USING (document)
    GROUP BY ALL
),

groups AS (
    SELECT
        fires_feature IS NULL AS without_feature,
        fires_other IS NULL AS without_other,
        sum(n) AS n,
        sum(n_positive) AS n_positive
    FROM cells
    GROUP BY GROUPING SETS ((fires_feature, fires_other), (fires_feature), (fires_other))
),

entropies AS (
    -- Of the value where it is known what one, or both, do.
    SELECT
        without_feature,
        without_other,
        sum(
            CASE WHEN n_positive BETWEEN 1 AND n - 1
                THEN
                    -n_positive * ln(n_positive / n) - (n - n_positive) * ln((n - n_positive) / n)
                ELSE 0
            END
        ) / sum(n) AS entropy,
        (count(*) - 1) / (2 * sum(n)) AS bias
    FROM groups
    GROUP BY without_feature, without_other
),

totals AS (
    SELECT
        sum(n)::BIGINT AS n,
        sum(n_positive)::BIGINT AS n_positive,
        sum(n_positive) / sum(n) AS share,
        CASE WHEN share > 0 AND share < 1
            THEN -share * ln(share) - (1 - share) * ln(1 - share)
        END AS entropy,
        list([fires_feature, fires_other, n, n_positive] ORDER BY fires_feature, fires_other)
            AS cells
    FROM cells
),

told AS (
    SELECT
        max(t.entropy - e.entropy - e.bias) FILTER (WHERE e.without_other) AS information_feature,
        max(t.entropy - e.entropy - e.bias) FILTER (WHERE e.without_feature) AS information_other,
        max(t.entropy - e.entropy - e.bias)
            FILTER (WHERE NOT e.without_feature AND NOT e.without_other) AS information_both
    FROM entropies AS e
    CROSS JOIN totals AS t
),

scores AS (
    SELECT
        sum(c.n ** 2 * (c.n_positive / c.n - t.share) ** 2)
        / nullif(max(t.n * t.share * (1 - t.share)), 0) AS influence,
        1 - sum((c.n / t.n) ** 2) AS influence_by_chance
    FROM cells AS c
    CROSS JOIN totals AS t
)
SELECT
    t.n AS n_documents,
    t.n_positive,
    t.cells,
    s.influence,
    s.influence_by_chance,
    i.information_feature,
    i.information_other,
    i.information_both,
    i.information_both - i.information_other AS information_given_other,
    i.information_both - i.information_feature - i.information_other AS interaction
FROM totals AS t
CROSS JOIN scores AS s
CROSS JOIN told AS i
WHERE t.n_positive BETWEEN 1 AND t.n - 1
ORDER BY t.n;
