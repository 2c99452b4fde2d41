-- features_of_label: which features separate a value of a label from its others, over all documents, in every subset and in one only.
-- in:  label_scores, label_subsets; $codes, $mask, $label, $value text; $q; $limit
-- out: level, pooling, subset_by; feature, auroc (below 1/2: it fires where the value is not), cohen_d, rate_positive, rate_negative, f1, information (nats, less what chance gives; of rows as counted), q, q_fisher (of firing or not), n_tests; subsets, auroc_min, auroc_max, information_within (nats where the subset is known); holds ('in every subset': q at most $q in each, on one side of 1/2; 'in opposite ways': in each, on both sides; 'in one subset': in one and no other; 'overall' else; NULL without subsets), strongest_subset
SELECT
    s.level,
    s.pooling,
    s.subset_by,
    s.feature,
    s.auroc,
    s.cohen_d,
    s.rate_positive,
    s.rate_negative,
    s.f1,
    coalesce(s.information_corrected, s.information) AS information,
    s.q,
    s.q_fisher,
    s.n_tests,
    d.subsets,
    d.auroc_min,
    d.auroc_max,
    d.information_within,
    CASE
        WHEN d.subsets IS NULL THEN NULL
        WHEN d.agreement > 0 AND d.q_max <= $q THEN 'in every subset'
        WHEN d.q_max <= $q THEN 'in opposite ways'
        WHEN d.q_min <= $q AND coalesce(d.q_second, 1) > $q THEN 'in one subset'
        ELSE 'overall'
    END AS holds,
    d.strongest_subset
FROM label_scores AS s
LEFT JOIN
    label_subsets AS d
    USING (codes, mask, label, value, subset_by, level, pooling, feature)
WHERE
    s.codes = $codes
    AND s.mask = $mask
    AND s.label = $label
    AND s.value = $value
    AND s.subset = ''
    -- What one subset alone shows need not show in all together.
    AND (s.q <= $q OR d.q_min <= $q)
ORDER BY
    s.level, s.pooling, s.subset_by,
    coalesce(d.agreement, abs(s.auroc - 0.5)) DESC, abs(s.auroc - 0.5) DESC, s.feature
LIMIT $limit;
