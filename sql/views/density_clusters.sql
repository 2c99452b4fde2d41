-- density_clusters: where the log densities of the features of some codes fall into two groups best, and how far apart those are.
-- in:  feature_statistics
-- out: codes, mask, n_alive (features that fire), split_log10_density (the largest of the lower group), n_low, low_mean and high_mean (of log10 density), separation (Ashman's D: √2 times the gap of the means over the root of the summed variances; an even spread has 3.5, one bell 2.7; NULL if both groups are points)
--
-- The split is Otsu's: the largest variance between the groups. Sources: Otsu (1979), "A threshold
-- selection method from gray-level histograms"; Ashman, Bird & Zepf (1994), "Detecting bimodality
-- in astronomical datasets".
CREATE OR REPLACE VIEW density_clusters AS
WITH alive AS (
    SELECT
        codes,
        mask,
        log10(density) AS x
    FROM feature_statistics
    WHERE n_fires > 0
),

summed AS (
    SELECT
        codes,
        mask,
        x,
        row_number() OVER rising AS i,
        count(*) OVER (PARTITION BY codes, mask) AS n,
        sum(x) OVER rising AS sum_low,
        sum(x * x) OVER rising AS squares_low,
        sum(x) OVER (PARTITION BY codes, mask) AS sum_all,
        sum(x * x) OVER (PARTITION BY codes, mask) AS squares_all,
        lead(x) OVER rising AS next_x
    FROM alive
    WINDOW rising AS (PARTITION BY codes, mask ORDER BY x ROWS UNBOUNDED PRECEDING)
),

splits AS (
    SELECT
        codes,
        mask,
        x,
        i,
        n,
        sum_low / i AS low_mean,
        (sum_all - sum_low) / (n - i) AS high_mean,
        greatest(squares_low / i - (sum_low / i) ** 2, 0) AS low_variance,
        greatest(
            (squares_all - squares_low) / (n - i) - ((sum_all - sum_low) / (n - i)) ** 2,
            0
        ) AS high_variance
    FROM summed
    WHERE next_x > x
),

best AS (
    SELECT
        codes,
        mask,
        arg_max(
            {
                'x': x,
                'i': i,
                'n': n,
                'low_mean': low_mean,
                'high_mean': high_mean,
                'spread': low_variance + high_variance
            },
            i * (n - i) * (high_mean - low_mean) ** 2
        ) AS chosen
    FROM splits
    GROUP BY codes, mask
)
SELECT
    codes,
    mask,
    chosen.n AS n_alive,
    chosen.x AS split_log10_density,
    chosen.i AS n_low,
    chosen.low_mean,
    chosen.high_mean,
    sqrt(2) * (chosen.high_mean - chosen.low_mean) / nullif(sqrt(chosen.spread), 0) AS separation
FROM best;
