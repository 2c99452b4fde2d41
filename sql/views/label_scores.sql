-- label_scores: how each feature goes with each value of a label, derived from its counts and sums.
-- in:  feature_labels
-- out: the key codes, mask, label, value, subset_by, subset, level, pooling, feature; n_positive, n_negative; prevalence of the value; prevalence_firing (where the feature fires, NULL if nowhere) and lift over prevalence; rate_positive and rate_negative (shares of units on which it fires) and rate_difference; mean_positive, mean_negative; cohen_d (pooled deviation), hedges_g, welch_t, point_biserial; chi2 of firing or not and phi (NULL if it fires everywhere or nowhere); mutual_information of firing and value in nats and its Miller-Madow correction; information of silent, weak or strong and value in nats, information_by_chance, and information_corrected, which is what is left; auroc, auprc, threshold, precision, recall, f1; iou of the strongest 0.5 % of units with the value and iou_firing of all on which it fires, top_precision and top_lift; p_fisher and q_fisher (of firing or not; NULL for rows), p, q, n_tests, run
CREATE OR REPLACE VIEW label_scores AS
WITH sums AS (
    SELECT
        codes,
        mask,
        label,
        value,
        subset_by,
        subset,
        level,
        pooling,
        feature,
        n_positive,
        n_negative,
        n_positive + n_negative AS n,
        fires_positive,
        fires_negative,
        fires_positive + fires_negative AS fires,
        sum_positive / n_positive AS mean_positive,
        sum_negative / n_negative AS mean_negative,
        mean_positive - mean_negative AS difference,
        -- Squared deviations from the mean of their side.
        greatest(square_positive - sum_positive ** 2 / n_positive, 0) AS left_positive,
        greatest(square_negative - sum_negative ** 2 / n_negative, 0) AS left_negative,
        sqrt((left_positive + left_negative) / nullif(n - 2, 0)) AS pooled,
        sqrt(
            left_positive / nullif(n_positive - 1, 0) / n_positive
            + left_negative / nullif(n_negative - 1, 0) / n_negative
        ) AS welch_error,
        sqrt(
            (left_positive + left_negative + n_positive::DOUBLE * n_negative / n * difference ** 2)
            / n
        ) AS deviation,
        (fires_positive * n_negative::DOUBLE - fires_negative * n_positive::DOUBLE)
        / nullif(sqrt(fires::DOUBLE * (n - fires) * n_positive * n_negative), 0) AS phi,
        [
            [fires_positive, fires, n_positive],
            [fires_negative, fires, n_negative],
            [n_positive - fires_positive, n - fires, n_positive],
            [n_negative - fires_negative, n - fires, n_negative]
        ] AS cells,
        auroc,
        auprc,
        threshold,
        precision,
        recall,
        f1,
        top_n,
        top_positive,
        information,
        information_by_chance,
        p_fisher,
        q_fisher,
        p,
        q,
        n_tests,
        run
    FROM feature_labels
)
SELECT
    codes,
    mask,
    label,
    value,
    subset_by,
    subset,
    level,
    pooling,
    feature,
    n_positive,
    n_negative,
    n_positive / n AS prevalence,
    fires_positive / nullif(fires, 0) AS prevalence_firing,
    fires_positive / nullif(fires, 0) / (n_positive / n) AS lift,
    fires_positive / n_positive AS rate_positive,
    fires_negative / n_negative AS rate_negative,
    fires_positive / n_positive - fires_negative / n_negative AS rate_difference,
    mean_positive,
    mean_negative,
    difference / nullif(pooled, 0) AS cohen_d,
    difference / nullif(pooled, 0) * (1 - 3 / nullif(4.0 * n - 9, 0)) AS hedges_g,
    difference / nullif(welch_error, 0) AS welch_t,
    difference * sqrt(n_positive::DOUBLE * n_negative) / n / nullif(deviation, 0) AS point_biserial,
    n * phi ** 2 AS chi2,
    phi,
    list_sum(list_transform(cells, lambda c: CASE
        WHEN c[1] > 0 THEN c[1] / n * ln(c[1] * n::DOUBLE / (c[2]::DOUBLE * c[3]))
        ELSE 0
    END)) AS mutual_information,
    list_sum(list_transform(cells, lambda c: CASE
        WHEN c[1] > 0 THEN c[1] / n * ln(c[1] * n::DOUBLE / (c[2]::DOUBLE * c[3]))
        ELSE 0
    END)) - CASE WHEN fires BETWEEN 1 AND n - 1 THEN 1 / (2 * n) ELSE 0 END
        AS mutual_information_corrected,
    information,
    information_by_chance,
    information - information_by_chance AS information_corrected,
    auroc,
    auprc,
    threshold,
    precision,
    recall,
    f1,
    top_positive / (top_n + n_positive - top_positive) AS iou,
    fires_positive / (fires + n_positive - fires_positive) AS iou_firing,
    top_positive / nullif(top_n, 0) AS top_precision,
    top_positive / nullif(top_n, 0) / (n_positive / n) AS top_lift,
    p_fisher,
    q_fisher,
    p,
    q,
    n_tests,
    run
FROM sums;
