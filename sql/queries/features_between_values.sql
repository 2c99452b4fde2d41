-- features_between_values: which features separate two values of a label from each other, whatever its others: over all documents, in every subset and in one only.
-- in:  feature_labels; $codes, $mask, $label, $a, $b text; $least (of abs(cohen_d), over all or in a subset); $limit
-- out: level, pooling, subset_by; feature; n_a, n_b (units with the value; rows of labels of spans may have both), rate_a, rate_b (shares on which it fires), mean_a, mean_b; cohen_d (above 0: stronger on a; by the pooled deviation, infinite where means differ and there is none, NULL where they do not, or of one unit each); welch_t (NULL without deviation, or where a side is one unit); subsets that have both values, cohen_d_min and cohen_d_max over them, and holds ('in every subset': $least in each, on one side of 0; 'in opposite ways': in some on each side; 'in one subset'; 'in some subsets'; 'overall': in none; NULL without subsets)
--
-- A difference, not a test: features_of_label has p and q of a value against all others, and
-- hypothesize tests on documents that were held out.
WITH sides AS (
    SELECT
        level,
        pooling,
        subset_by,
        subset,
        feature,
        a.n_positive AS n_a,
        b.n_positive AS n_b,
        a.fires_positive / n_a AS rate_a,
        b.fires_positive / n_b AS rate_b,
        a.sum_positive / n_a AS mean_a,
        b.sum_positive / n_b AS mean_b,
        -- Squared deviations from the mean of their side.
        greatest(a.square_positive - a.sum_positive ** 2 / n_a, 0) AS left_a,
        greatest(b.square_positive - b.sum_positive ** 2 / n_b, 0) AS left_b,
        sqrt((left_a + left_b) / nullif(n_a + n_b - 2, 0)) AS pooled,
        -- Less than this is rounding of the sums.
        1e-6 * greatest(abs(mean_a), abs(mean_b)) AS nothing,
        sqrt(left_a / nullif(n_a - 1, 0) / n_a + left_b / nullif(n_b - 1, 0) / n_b) AS welch_error,
        CASE
            WHEN pooled > nothing THEN (mean_a - mean_b) / pooled
            WHEN pooled <= nothing AND abs(mean_a - mean_b) > nothing
                THEN sign(mean_a - mean_b) * 'inf'::DOUBLE
        END AS cohen_d
    FROM feature_labels AS a
    INNER JOIN
        feature_labels AS b
        USING (codes, mask, label, subset_by, subset, level, pooling, feature)
    WHERE codes = $codes AND mask = $mask AND label = $label AND a.value = $a AND b.value = $b
),

parts AS (
    SELECT
        level,
        pooling,
        subset_by,
        feature,
        count(*) AS subsets,
        min(cohen_d) AS cohen_d_min,
        max(cohen_d) AS cohen_d_max,
        count(*) FILTER (WHERE abs(cohen_d) >= $least) AS n_apart,
        count(*) FILTER (WHERE cohen_d >= $least AND cohen_d > 0) AS n_more,
        count(*) FILTER (WHERE cohen_d <= -$least AND cohen_d < 0) AS n_less
    FROM sides
    WHERE subset <> ''
    GROUP BY level, pooling, subset_by, feature
)
SELECT
    s.level,
    s.pooling,
    s.subset_by,
    s.feature,
    s.n_a,
    s.n_b,
    s.rate_a,
    s.rate_b,
    s.mean_a,
    s.mean_b,
    s.cohen_d,
    CASE WHEN s.pooled > s.nothing THEN (s.mean_a - s.mean_b) / s.welch_error END AS welch_t,
    p.subsets,
    p.cohen_d_min,
    p.cohen_d_max,
    CASE
        WHEN p.subsets IS NULL THEN NULL
        WHEN p.n_more > 0 AND p.n_less > 0 THEN 'in opposite ways'
        WHEN p.n_apart = p.subsets THEN 'in every subset'
        WHEN p.n_apart = 1 THEN 'in one subset'
        WHEN p.n_apart > 0 THEN 'in some subsets'
        ELSE 'overall'
    END AS holds
FROM sides AS s
LEFT JOIN parts AS p USING (level, pooling, subset_by, feature)
WHERE s.subset = '' AND (abs(s.cohen_d) >= $least OR p.n_apart > 0)
ORDER BY s.level, s.pooling, s.subset_by, abs(s.cohen_d) DESC NULLS LAST, s.feature
LIMIT $limit;
