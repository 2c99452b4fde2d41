-- health_of_codes: how many features of some codes are dead, rare, dense and so on, and how much of all firing is theirs.
-- in:  feature_summary; $codes, $mask text
-- out: flag, n_features, share (of features, in [0, 1]), firing_share (of all firings), unseen (at 'rare': share of firings that features not yet seen would have, by Good and Turing; else NULL); flags overlap; 'none' are features with no flag
WITH flagged AS (
    SELECT
        n_fires,
        is_dead,
        is_rare,
        is_ultra_low_density,
        is_dense,
        is_always_on,
        is_single_token,
        is_positional,
        coalesce(is_duplicate, FALSE) AS is_duplicate,
        sum(n_fires) OVER () AS all_fires,
        count(*) OVER () AS all_features,
        count(*) FILTER (WHERE n_fires = 1) OVER () AS seen_once
    FROM feature_summary
    WHERE codes = $codes AND mask = $mask
),

named AS (
    SELECT
        n_fires,
        all_fires,
        all_features,
        seen_once,
        unnest(
            list_filter(
                [
                    CASE WHEN is_dead THEN 'dead' END,
                    CASE WHEN is_rare THEN 'rare' END,
                    CASE WHEN is_ultra_low_density THEN 'ultra-low density' END,
                    CASE WHEN is_dense THEN 'dense' END,
                    CASE WHEN is_always_on THEN 'always on' END,
                    CASE WHEN is_single_token THEN 'single token' END,
                    CASE WHEN is_positional THEN 'positional' END,
                    CASE WHEN is_duplicate THEN 'duplicate' END,
                    CASE
                        WHEN NOT (
                            is_dead
                            OR is_rare
                            OR is_ultra_low_density
                            OR is_dense
                            OR is_always_on
                            OR is_single_token
                            OR is_positional
                            OR is_duplicate
                        ) THEN 'none'
                    END
                ],
                lambda flag : flag IS NOT NULL
            )
        ) AS flag
    FROM flagged
)
SELECT
    flag,
    count(*) AS n_features,
    count(*) / any_value(all_features) AS share,
    sum(n_fires) / nullif(any_value(all_fires), 0) AS firing_share,
    CASE WHEN flag = 'rare' THEN any_value(seen_once) / nullif(any_value(all_fires), 0) END
    AS unseen
FROM named
GROUP BY flag
ORDER BY n_features DESC, flag;
