-- changes_between_dictionaries: what became of the features of codes in others, such as those of a later checkpoint: kept, lost or new, merged or split, with how often and how strongly both fire.
-- in:  feature_matches, feature_summary; $codes (before), $others (after), $mask, $method text: 'activation' or 'decoder'; $q largest false discovery rate and $score smallest score of a match, since with many rows a weak one is sure, too; $limit of each change
-- out: change: kept (each is the other's best match), lost and new (no match on the other side), merged (whose match is nearer to another feature of the codes), split (whose match is nearer to another of the others); n_changes (features of this change); feature (NULL if new), other (NULL if lost); score, null_mean, q of the match (of the two directions of a kept one the larger q; of a lost or new one those of its best partner); density and mean_active of both (NULL without a summary under the mask), density_ratio (others over codes), top_token of both; of kept ones those whose density changed most come first, of others the most frequent
WITH sides AS (
    SELECT
        CASE WHEN codes_a = $codes THEN feature_a ELSE feature_b END AS feature,
        CASE WHEN codes_a = $codes THEN feature_b ELSE feature_a END AS other,
        (codes_a = $codes) = (best_of = 'a') AS is_of_codes,
        is_mutual,
        score,
        null_mean,
        q,
        coalesce(q <= $q AND score >= $score AND NOT is_mutual, FALSE) AS is_anothers
    FROM feature_matches
    WHERE
        mask = $mask
        AND method = CASE
            WHEN $method IN ('activation', 'decoder') THEN $method
            ELSE error('cannot match by ' || $method || '; $method is activation or decoder')
        END
        AND (
            (codes_a = $codes AND codes_b = $others)
            OR (codes_a = $others AND codes_b = $codes)
        )
),

-- Each direction of a mutual match is tested, and both have to hold.
kept AS (
    SELECT
        feature,
        other,
        any_value(score) AS score,
        max(null_mean) AS null_mean,
        max(q) AS q
    FROM sides
    WHERE is_mutual
    GROUP BY feature, other
    HAVING max(q) <= $q AND min(score) >= $score
),

-- A lost feature has no other and a new one no feature, whatever was nearest to it.
changes AS (
    SELECT
        'kept' AS change,
        1 AS place,
        feature,
        other,
        score,
        null_mean,
        q
    FROM kept
    UNION ALL
    SELECT
        CASE WHEN is_anothers THEN 'merged' ELSE 'lost' END,
        CASE WHEN is_anothers THEN 4 ELSE 2 END,
        feature,
        CASE WHEN is_anothers THEN other END,
        score,
        null_mean,
        q
    FROM sides
    WHERE is_of_codes AND feature NOT IN (SELECT k.feature FROM kept AS k)
    UNION ALL
    SELECT
        CASE WHEN is_anothers THEN 'split' ELSE 'new' END,
        CASE WHEN is_anothers THEN 5 ELSE 3 END,
        CASE WHEN is_anothers THEN feature END,
        other,
        score,
        null_mean,
        q
    FROM sides
    WHERE NOT is_of_codes AND other NOT IN (SELECT k.other FROM kept AS k)
),

known AS (
    SELECT
        c.change,
        c.place,
        c.feature,
        c.other,
        c.score,
        c.null_mean,
        c.q,
        ours.density,
        theirs.density AS other_density,
        theirs.density / nullif(ours.density, 0) AS density_ratio,
        ours.mean_active,
        theirs.mean_active AS other_mean_active,
        ours.top_token,
        theirs.top_token AS other_top_token,
        CASE
            -- To fall silent is the largest change of all.
            WHEN c.change = 'kept'
                THEN abs(log10(greatest(theirs.density / nullif(ours.density, 0), 1e-9)))
            WHEN c.change IN ('new', 'split') THEN theirs.density
            ELSE ours.density
        END AS size
    FROM changes AS c
    LEFT JOIN feature_summary AS ours
        ON ours.codes = $codes AND ours.mask = $mask AND ours.feature = c.feature
    LEFT JOIN feature_summary AS theirs
        ON theirs.codes = $others AND theirs.mask = $mask AND theirs.feature = c.other
    -- What never fires on its own side is neither lost nor new there.
    WHERE
        coalesce(ours.n_fires, 1) > 0 AND coalesce(theirs.n_fires, 1) > 0
        OR c.change NOT IN ('lost', 'new')
)
SELECT
    change,
    count(*) OVER (PARTITION BY place) AS n_changes,
    feature,
    other,
    score,
    null_mean,
    q,
    density,
    other_density,
    density_ratio,
    mean_active,
    other_mean_active,
    top_token,
    other_top_token
FROM known
QUALIFY row_number() OVER (PARTITION BY place ORDER BY size DESC NULLS LAST, feature, other) <= $limit
ORDER BY place, size DESC NULLS LAST, feature, other;
