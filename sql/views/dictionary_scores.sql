-- dictionary_scores: how well each dictionary reconstructs, and its baselines on the same rows, one column a metric.
-- in:  evaluations, dictionaries
-- out: dictionary, tensor, mask, split, method, n_features, k (features a row, NULL if the method has none), n (rows); fvu (0 is perfect, 1 is the mean), ev = 1 - fvu, fvu of the baselines: fvu_pca (first k axes), fvu_pca_topk (largest k of all axes), fvu_random; nmse, cosine, l0 (features a row), dead_share in [0, 1]; NULL where not evaluated
CREATE OR REPLACE VIEW dictionary_scores AS
WITH pivoted AS (
    SELECT
        dictionary,
        tensor,
        mask,
        split,
        max(n) AS n,
        max(value) FILTER (WHERE metric = 'fvu') AS fvu,
        max(value) FILTER (WHERE metric = 'ev') AS ev,
        max(value) FILTER (WHERE metric = 'fvu_pca') AS fvu_pca,
        max(value) FILTER (WHERE metric = 'fvu_pca_topk') AS fvu_pca_topk,
        max(value) FILTER (WHERE metric = 'fvu_random') AS fvu_random,
        max(value) FILTER (WHERE metric = 'nmse') AS nmse,
        max(value) FILTER (WHERE metric = 'cosine') AS cosine,
        max(value) FILTER (WHERE metric = 'l0') AS l0,
        max(value) FILTER (WHERE metric = 'dead_share') AS dead_share
    FROM evaluations
    GROUP BY dictionary, tensor, mask, split
)
SELECT
    p.dictionary,
    p.tensor,
    p.mask,
    p.split,
    d.method,
    d.n_features,
    TRY_CAST(json_extract_string(d.config, '$.k') AS BIGINT) AS k,
    p.n,
    p.fvu,
    p.ev,
    p.fvu_pca,
    p.fvu_pca_topk,
    p.fvu_random,
    p.nmse,
    p.cosine,
    p.l0,
    p.dead_share
FROM pivoted AS p
LEFT JOIN dictionaries AS d USING (dictionary);
