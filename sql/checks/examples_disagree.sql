-- examples_disagree: feature_examples that are not postings of the same value, or that are although the feature is to be silent; the strongest whose values rise with the rank, or that leave out the strongest row; those that do not count themselves among rows alike.
-- in:  feature_examples, feature_statistics, postings
-- out: owner (codes and mask), what is wrong
WITH compared AS (
    SELECT
        e.codes,
        e.mask,
        e.feature,
        e.kind,
        e.rank,
        e.value,
        e.n_alike,
        p.value AS posted,
        s.max_active,
        lag(e.value) OVER (
            PARTITION BY e.codes, e.mask, e.feature, e.kind
            ORDER BY e.rank
        ) AS stronger
    FROM feature_examples AS e
    LEFT JOIN postings AS p
        ON
            p.codes = coalesce(e.member, e.codes)
            AND p.feature = e.feature AND p."row" = e."row"
    LEFT JOIN feature_statistics AS s
        ON s.codes = e.codes AND s.mask = e.mask AND s.feature = e.feature
),

counted AS (
    SELECT
        codes || ', mask ' || mask AS owner,
        count(*) FILTER (
            WHERE kind NOT IN ('silent', 'negative') AND posted IS DISTINCT FROM value
        ) AS n_unlike_postings,
        count(*) FILTER (
            WHERE kind IN ('silent', 'negative') AND (posted IS NOT NULL OR value <> 0)
        ) AS n_not_silent,
        count(*) FILTER (WHERE kind IN ('top', 'quantile') AND value > stronger) AS n_rising,
        count(*) FILTER (
            WHERE kind = 'top' AND rank = 1 AND value <> max_active::FLOAT
        ) AS n_not_strongest,
        count(*) FILTER (WHERE n_alike < 1) AS n_not_counted
    FROM compared
    GROUP BY codes, mask
),

faults AS (
    SELECT
        owner,
        n_unlike_postings || ' examples are not postings of the same value' AS what
    FROM counted
    WHERE n_unlike_postings > 0
    UNION ALL
    SELECT
        owner,
        n_not_silent || ' examples of silence are rows on which the feature fires'
    FROM counted
    WHERE n_not_silent > 0
    UNION ALL
    SELECT
        owner,
        n_rising || ' examples are stronger than the one before'
    FROM counted
    WHERE n_rising > 0
    UNION ALL
    SELECT
        owner,
        n_not_strongest || ' features have a first example that is not their max_active'
    FROM counted
    WHERE n_not_strongest > 0
    UNION ALL
    SELECT
        owner,
        n_not_counted || ' examples are not among the rows alike to them'
    FROM counted
    WHERE n_not_counted > 0
)
SELECT
    owner,
    what
FROM faults
ORDER BY owner, what;
