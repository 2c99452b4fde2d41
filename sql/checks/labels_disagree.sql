-- labels_disagree: feature_labels and feature_changes that cannot be.
-- in:  feature_labels, feature_changes
-- out: owner (codes), what is wrong; one row for each codes and fault
WITH faults AS (
    SELECT
        codes,
        'scores of the label ' || label || ' count more firing units than units' AS what
    FROM feature_labels
    WHERE
        fires_positive > n_positive
        OR fires_negative > n_negative
        OR top_positive > least(top_n, fires_positive)
        OR least(n_positive, n_negative) < 1
    UNION ALL
    SELECT
        codes,
        'scores of the label ' || label || ' are outside 0 to 1'
    FROM feature_labels
    WHERE least(auroc, auprc, precision, recall, f1) < 0
        OR greatest(auroc, auprc, precision, recall, f1) > 1 + 1e-9
    UNION ALL
    SELECT
        codes_a,
        'changes to ' || codes_b || ' count more firing rows than rows, or documents than rows'
    FROM feature_changes
    WHERE
        fires_a > rows_a
        OR fires_b > rows_b
        OR firing_documents_a > least(fires_a, documents_a)
        OR firing_documents_b > least(fires_b, documents_b)
        OR abs(difference - (fires_b / rows_b - fires_a / rows_a)) > 1e-9
)
SELECT
    codes AS owner,
    what
FROM faults
GROUP BY codes, what
ORDER BY owner, what;
