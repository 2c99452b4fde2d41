-- similarity_tests: how alike pairs of tensors are, corrected for the number of pairs that were compared.
-- in:  similarities
-- out: tensor_a, tensor_b, mask, method, value, excess (matched rows over permuted ones of the same number), null_mean, n, documents, p, n_tests and q_pairs (Benjamini-Hochberg over all pairs of a mask and method), run
CREATE OR REPLACE VIEW similarity_tests AS
WITH ranked AS (
    SELECT
        tensor_a,
        tensor_b,
        mask,
        method,
        value,
        null_mean,
        cut_mean,
        n,
        documents,
        p,
        run,
        count(*) OVER (PARTITION BY mask, method) AS n_tests,
        count(*) OVER (PARTITION BY mask, method ORDER BY p) AS at_most
    FROM similarities
)
SELECT
    tensor_a,
    tensor_b,
    mask,
    method,
    value,
    cut_mean - null_mean AS excess,
    null_mean,
    n,
    documents,
    p,
    n_tests,
    least(min(p * n_tests / at_most) OVER (PARTITION BY mask, method ORDER BY p DESC), 1) AS q_pairs,
    run
FROM ranked;
