-- label_subsets: what of a feature and a value holds in every subset of the documents, and what in one only.
-- in:  feature_labels
-- out: the key codes, mask, label, value, subset_by, level, pooling, feature; subsets; auroc over all; auroc_min and auroc_max over subsets; agreement in [0, 0.5]: how far from 1/2 the AUROC of every subset is at least, on one side, 0 if they disagree; strongest_subset and its auroc_strongest, the farthest from 1/2; q_max over subsets (small: the value is told in every one), q_min and q_second, the two smallest (one small, one not: in one subset only), NULL where a subset was not tested; rate_difference_min over subsets, of shares of firing units; information_within: nats that silent, weak or strong tells of the value where the subset is known, less what chance gives (documents), over the units of subsets in which the value varies; run
CREATE OR REPLACE VIEW label_subsets AS
WITH parts AS (
    SELECT
        codes,
        mask,
        label,
        value,
        subset_by,
        level,
        pooling,
        feature,
        count(*) AS subsets,
        min(auroc) AS auroc_min,
        max(auroc) AS auroc_max,
        arg_max(subset, (abs(auroc - 0.5), subset)) AS strongest_subset,
        arg_max(auroc, (abs(auroc - 0.5), subset)) AS auroc_strongest,
        CASE WHEN count(q) = count(*) THEN max(q) END AS q_max,
        min(q) AS q_min,
        list_sort(list(q) FILTER (WHERE q IS NOT NULL))[2] AS q_second,
        min(fires_positive / n_positive - fires_negative / n_negative) AS rate_difference_min,
        -- The chain rule: information given the subset is the mean over subsets.
        sum((n_positive + n_negative) * (information - coalesce(information_by_chance, 0)))
        / sum(n_positive + n_negative) AS information_within
    FROM feature_labels
    WHERE subset <> ''
    GROUP BY codes, mask, label, value, subset_by, level, pooling, feature
)
SELECT
    w.codes,
    w.mask,
    w.label,
    w.value,
    w.subset_by,
    w.level,
    w.pooling,
    w.feature,
    w.subsets,
    a.auroc,
    w.auroc_min,
    w.auroc_max,
    greatest(w.auroc_min - 0.5, 0.5 - w.auroc_max, 0) AS agreement,
    w.strongest_subset,
    w.auroc_strongest,
    w.q_max,
    w.q_min,
    w.q_second,
    w.rate_difference_min,
    w.information_within,
    a.run
FROM parts AS w
INNER JOIN feature_labels AS a USING (codes, mask, label, value, subset_by, level, pooling, feature)
WHERE a.subset = '';
