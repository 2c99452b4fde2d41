-- families_of_codes: which features form a family: one that fires wherever several sparser ones do, and those.
-- in:  feature_families, feature_pairs; $codes, $mask, $level text: token or document; $limit
-- out: family, round, root, members, root_fires, mean_share (of the members' firings on which their parent fires too), cohesion: mean overlap of parent and child over mean overlap of siblings, above 1 where children are apart (NULL if no two siblings are partners, so that they hardly meet), features (root first, then by depth and firings)
--
-- Overlap is joint firings over those of the rarer. Siblings that are no partners are not in it.
WITH members AS (
    SELECT
        family,
        round,
        feature,
        parent,
        depth,
        n_fires,
        share
    FROM feature_families
    WHERE codes = $codes AND mask = $mask AND level = $level
),

shared AS (
    SELECT
        feature_a,
        feature_b,
        joint / least(fires_a, fires_b) AS overlap
    FROM feature_pairs
    WHERE codes = $codes AND mask = $mask AND level = $level
),

-- A pair may be kept from one side only, so both directions, each pair once.
both_ways AS (
    SELECT
        least(feature_a, feature_b) AS low,
        greatest(feature_a, feature_b) AS high,
        any_value(overlap) AS overlap
    FROM shared
    GROUP BY least(feature_a, feature_b), greatest(feature_a, feature_b)
),

down AS (
    SELECT
        m.family,
        avg(o.overlap) AS overlap
    FROM members AS m
    INNER JOIN both_ways AS o
        ON o.low = least(m.parent, m.feature) AND o.high = greatest(m.parent, m.feature)
    GROUP BY m.family
),

across AS (
    SELECT
        a.family,
        avg(o.overlap) AS overlap
    FROM members AS a
    INNER JOIN members AS b
        ON b.family = a.family AND b.parent = a.parent AND b.feature > a.feature
    INNER JOIN both_ways AS o ON o.low = a.feature AND o.high = b.feature
    GROUP BY a.family
)
SELECT
    m.family,
    any_value(m.round) AS round,
    max(m.feature) FILTER (WHERE m.depth = 0) AS root,
    count(*) AS members,
    max(m.n_fires) FILTER (WHERE m.depth = 0) AS root_fires,
    avg(m.share) AS mean_share,
    any_value(d.overlap) / any_value(c.overlap) AS cohesion,
    list(m.feature ORDER BY m.depth, m.n_fires DESC, m.feature) AS features
FROM members AS m
LEFT JOIN down AS d USING (family)
LEFT JOIN across AS c USING (family)
GROUP BY m.family
ORDER BY members DESC, m.family
LIMIT $limit;
