-- statistics_disagree: feature_statistics and feature_histograms and feature_positions that do not add up to the postings, to each other, or to the number of features.
-- in:  feature_statistics, feature_histograms, feature_positions, postings, codes, codes_sets
-- out: owner (codes and mask), what is wrong
WITH posted AS (
    SELECT
        codes,
        feature,
        count(*) AS n
    FROM postings
    GROUP BY codes, feature
),

-- Of a set the codes that it is made of, and of codes themselves.
members AS (
    SELECT DISTINCT
        s.codes,
        s.mask,
        c.codes AS member,
        c.rows,
        c.n_features
    FROM feature_statistics AS s
    LEFT JOIN codes_sets AS m USING (codes, mask)
    INNER JOIN codes AS c ON c.codes = coalesce(m.member, s.codes)
),

sizes AS (
    SELECT
        codes,
        mask,
        sum(rows) AS rows,
        any_value(n_features) AS n_features
    FROM members
    GROUP BY codes, mask
),

posted_of_all AS (
    SELECT
        m.codes,
        m.mask,
        p.feature,
        sum(p.n) AS n
    FROM members AS m
    INNER JOIN posted AS p ON p.codes = m.member
    GROUP BY m.codes, m.mask, p.feature
),

binned AS (
    SELECT
        codes,
        mask,
        feature,
        sum(count) AS n
    FROM feature_histograms
    GROUP BY codes, mask, feature
),

placed AS (
    SELECT
        codes,
        mask,
        feature,
        sum(n_fires) AS n
    FROM feature_positions
    GROUP BY codes, mask, feature
),

compared AS (
    SELECT
        s.codes,
        s.mask,
        s.feature,
        s.n_rows,
        s.n_fires,
        s.density,
        s.mask = 'all' AS is_all,
        c.rows,
        c.n_features,
        coalesce(p.n, 0) AS n_posted,
        coalesce(b.n, 0) AS n_binned,
        s.n_documents,
        s.n_documents_fires,
        l.n AS n_placed
    FROM feature_statistics AS s
    INNER JOIN sizes AS c USING (codes, mask)
    LEFT JOIN posted_of_all AS p
        ON p.codes = s.codes AND p.mask = s.mask AND p.feature = s.feature
    LEFT JOIN binned AS b ON b.codes = s.codes AND b.mask = s.mask AND b.feature = s.feature
    LEFT JOIN placed AS l ON l.codes = s.codes AND l.mask = s.mask AND l.feature = s.feature
),

histograms AS (
    SELECT DISTINCT
        codes,
        mask
    FROM feature_histograms
),

counted AS (
    SELECT
        k.codes,
        k.mask,
        count(*) AS n,
        any_value(k.n_features) AS n_features,
        min(k.n_rows) AS least_rows,
        max(k.n_rows) AS most_rows,
        any_value(k.rows) AS rows,
        bool_or(k.is_all) AS is_all,
        count(*) FILTER (
            WHERE k.n_fires > k.n_posted OR (k.is_all AND k.n_fires <> k.n_posted)
        ) AS n_unlike_postings,
        count(*) FILTER (WHERE h.codes IS NOT NULL AND k.n_fires <> k.n_binned)
        AS n_unlike_bins,
        count(*) FILTER (
            WHERE
            k.n_fires < 0
            OR k.n_fires > k.n_rows
            OR abs(k.density - k.n_fires / greatest(k.n_rows, 1)) > 1e-12
        ) AS n_unlike_density,
        count(*) FILTER (WHERE k.n_placed <> k.n_fires) AS n_unlike_positions,
        count(*) FILTER (
            WHERE
            k.n_documents_fires > least(k.n_fires, k.n_documents)
            OR (k.n_documents_fires = 0) <> (k.n_fires = 0)
        ) AS n_unlike_documents
    FROM compared AS k
    LEFT JOIN histograms AS h ON h.codes = k.codes AND h.mask = k.mask
    GROUP BY k.codes, k.mask
),

faults AS (
    SELECT
        codes,
        mask,
        n || ' features have statistics instead of ' || n_features AS what
    FROM counted
    WHERE n <> n_features
    UNION ALL
    SELECT
        codes,
        mask,
        'statistics count ' || least_rows || ' to ' || most_rows || ' rows, and the codes have '
        || rows
    FROM counted
    WHERE least_rows <> most_rows OR most_rows > rows OR (is_all AND most_rows <> rows)
    UNION ALL
    SELECT
        codes,
        mask,
        n_unlike_postings || ' features have n_fires that their postings do not give'
    FROM counted
    WHERE n_unlike_postings > 0
    UNION ALL
    SELECT
        codes,
        mask,
        n_unlike_bins || ' features have n_fires that their histogram does not add up to'
    FROM counted
    WHERE n_unlike_bins > 0
    UNION ALL
    SELECT
        codes,
        mask,
        n_unlike_density || ' features have a density that is not n_fires / n_rows'
    FROM counted
    WHERE n_unlike_density > 0
    UNION ALL
    SELECT
        codes,
        mask,
        n_unlike_positions || ' features have n_fires that their positions do not add up to'
    FROM counted
    WHERE n_unlike_positions > 0
    UNION ALL
    SELECT
        codes,
        mask,
        n_unlike_documents || ' features fire in another number of documents than they can'
    FROM counted
    WHERE n_unlike_documents > 0
)
SELECT
    codes || ', mask ' || mask AS owner,
    what
FROM faults
ORDER BY owner, what;
