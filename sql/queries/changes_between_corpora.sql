-- changes_between_corpora: which features of a dictionary fire more often on one corpus than on another.
-- in:  feature_changes; $codes, $others, $mask text: codes of one dictionary over two corpora; $q; $limit
-- out: feature, rate_codes and rate_others (shares of rows under the mask), change = rate_others - rate_codes, low and high (95 % by the standard error, which takes documents for clusters), ratio (NULL where it never fires on $codes), documents (in which it fires, of both), q, n_tests
WITH turned AS (
    SELECT
        feature,
        codes_a = $codes AS forward,
        fires_a / rows_a AS rate_a,
        fires_b / rows_b AS rate_b,
        difference,
        standard_error,
        firing_documents_a + firing_documents_b AS documents,
        q,
        n_tests
    FROM feature_changes
    WHERE
        mask = $mask
        AND q <= $q
        AND (
            (codes_a = $codes AND codes_b = $others)
            OR (codes_a = $others AND codes_b = $codes)
        )
)
SELECT
    feature,
    CASE WHEN forward THEN rate_a ELSE rate_b END AS rate_codes,
    CASE WHEN forward THEN rate_b ELSE rate_a END AS rate_others,
    CASE WHEN forward THEN difference ELSE -difference END AS change,
    CASE WHEN forward THEN difference ELSE -difference END - 1.96 * standard_error AS low,
    CASE WHEN forward THEN difference ELSE -difference END + 1.96 * standard_error AS high,
    CASE
        WHEN forward THEN rate_b / nullif(rate_a, 0)
        ELSE rate_a / nullif(rate_b, 0)
    END AS ratio,
    documents,
    q,
    n_tests
FROM turned
ORDER BY abs(difference / standard_error) DESC, feature
LIMIT $limit;
