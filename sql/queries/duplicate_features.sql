-- duplicate_features: pairs of features of one dictionary whose decoder directions are nearer than random ones would be.
-- in:  feature_summary, feature_neighbours, codes_and_sets; $codes, $mask text; $limit
-- out: feature, twin (another one), rank (of the twin among the neighbours of the feature, from 1), cosine (of decoder directions), p (that the best of as many random directions is as near), is_mutual (each is the other's nearest), is_duplicate (the flag of the feature), n_fires and twin_fires, top_token and twin_token; largest cosine first; a pair has one row, at the feature that is nearer to it by rank, or at the smaller one
WITH asked AS MATERIALIZED (
    SELECT
        feature,
        nearest_decoder,
        nearest_decoder_cosine,
        nearest_decoder_p,
        is_duplicate,
        n_fires,
        top_token
    FROM feature_summary
    WHERE codes = $codes AND mask = $mask
),

near AS (
    -- The nearest are in features too, and in lakes of before feature_neighbours there alone.
    SELECT
        feature,
        nearest_decoder AS twin,
        1 AS rank,
        nearest_decoder_cosine AS cosine,
        nearest_decoder_p AS p
    FROM asked
    WHERE nearest_decoder_p < 0.05
    UNION ALL
    SELECT
        n.feature,
        n.neighbour,
        n.rank,
        n.cosine,
        n.p
    FROM codes_and_sets AS c
    INNER JOIN feature_neighbours AS n USING (dictionary)
    WHERE c.codes = $codes AND n.rank > 1 AND n.p < 0.05
),

pairs AS (
    SELECT
        feature,
        twin,
        rank,
        cosine,
        p,
        count(*) FILTER (WHERE rank = 1) OVER (
            PARTITION BY least(feature, twin), greatest(feature, twin)
        ) = 2 AS is_mutual
    FROM near
    QUALIFY row_number() OVER (
        PARTITION BY least(feature, twin), greatest(feature, twin)
        ORDER BY rank, feature
    ) = 1
)
SELECT
    o.feature,
    o.twin,
    o.rank,
    o.cosine,
    o.p,
    o.is_mutual,
    a.is_duplicate,
    a.n_fires,
    b.n_fires AS twin_fires,
    a.top_token,
    b.top_token AS twin_token
FROM pairs AS o
INNER JOIN asked AS a USING (feature)
LEFT JOIN asked AS b ON b.feature = o.twin
ORDER BY o.cosine DESC, o.feature, o.twin
LIMIT $limit;
