-- pairs_disagree: feature_pairs and feature_families that cannot be, or contradict each other or feature_statistics.
-- in:  feature_pairs, feature_families, feature_statistics
-- out: owner (codes), what is wrong; one row for each codes and fault
WITH faults AS (
    SELECT
        codes,
        'pairs have more joint firings than firings, or more than units' AS what
    FROM feature_pairs
    WHERE joint > least(fires_a, fires_b) OR greatest(fires_a, fires_b) > n OR joint < 1
    UNION ALL
    SELECT
        codes,
        'pairs have a sum of products beyond their sums of squares'
    FROM feature_pairs
    WHERE product > sqrt(square_a) * sqrt(square_b) * (1 + 1e-6)
    UNION ALL
    SELECT
        codes,
        'pairs are of a feature with itself'
    FROM feature_pairs
    WHERE feature_a = feature_b
    UNION ALL
    SELECT
        codes,
        'partners are not ranked from 1 on without gaps'
    FROM feature_pairs
    GROUP BY codes, mask, level, feature_a
    HAVING min(rank) <> 1 OR max(rank) <> count(*)
    UNION ALL
    SELECT
        a.codes,
        'pairs say one thing from one side and another from the other'
    FROM feature_pairs AS a
    INNER JOIN feature_pairs AS b
        ON
            b.codes = a.codes
            AND b.mask = a.mask
            AND b.level = a.level
            AND b.feature_a = a.feature_b
            AND b.feature_b = a.feature_a
    WHERE a.joint <> b.joint OR a.fires_a <> b.fires_b OR a.n <> b.n OR a.p <> b.p
    UNION ALL
    SELECT
        p.codes,
        'pairs count other firings than feature_statistics'
    FROM feature_pairs AS p
    INNER JOIN feature_statistics AS s
        ON s.codes = p.codes AND s.mask = p.mask AND s.feature = p.feature_a
    WHERE p.level = 'token' AND (s.n_fires <> p.fires_a OR s.n_rows <> p.n)
    UNION ALL
    SELECT
        c.codes,
        'members of families hang under a feature that is no member, or is sparser'
    FROM feature_families AS c
    LEFT JOIN feature_families AS p
        ON
            p.codes = c.codes
            AND p.mask = c.mask
            AND p.level = c.level
            AND p.family = c.family
            AND p.feature = c.parent
    WHERE c.parent IS NOT NULL AND (p.feature IS NULL OR p.n_fires < c.n_fires)
)
SELECT
    codes AS owner,
    what
FROM faults
GROUP BY codes, what
ORDER BY owner, what;
