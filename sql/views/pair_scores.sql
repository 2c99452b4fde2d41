-- pair_scores: how strongly each feature goes with its best partners.
-- in:  feature_pairs
-- out: the key codes, mask, level, feature_a, rank; feature_b; n, fires_a, fires_b, joint; expected (joint firings by chance); lift = joint / expected; pmi = ln(lift) in nats; npmi in [-1, 1]; jaccard, overlap (of the rarer), given_a = P(b fires | a fires), given_b = P(a fires | b fires), all in [0, 1]; phi (Pearson of firing or not); cosine and pearson of values, silent units as zeros; decoder_cosine, weight, redundancy_a, p, q, n_tests, run
CREATE OR REPLACE VIEW pair_scores AS
SELECT
    codes,
    mask,
    level,
    feature_a,
    rank,
    feature_b,
    n,
    fires_a,
    fires_b,
    joint,
    fires_a::DOUBLE * fires_b / n AS expected,
    joint / expected AS lift,
    ln(joint / expected) AS pmi,
    -- Both always on: ln 1 over ln 1, which is as much as chance.
    CASE WHEN joint < n THEN ln(joint / expected) / -ln(joint / n) ELSE 0 END AS npmi,
    joint / (fires_a + fires_b - joint) AS jaccard,
    joint / least(fires_a, fires_b) AS overlap,
    joint / fires_a AS given_a,
    joint / fires_b AS given_b,
    -- NULL for a feature that fires on every unit.
    (joint * n - fires_a::DOUBLE * fires_b)
    / nullif(sqrt(fires_a::DOUBLE * fires_b * (n - fires_a) * (n - fires_b)), 0) AS phi,
    product / sqrt(square_a * square_b) AS cosine,
    -- What rounding leaves of a constant is no spread.
    CASE
        WHEN
            n * square_a - sum_a ** 2 > 1e-12 * n * square_a
            AND n * square_b - sum_b ** 2 > 1e-12 * n * square_b
            THEN
                (n * product - sum_a * sum_b)
                / sqrt((n * square_a - sum_a ** 2) * (n * square_b - sum_b ** 2))
    END AS pearson,
    decoder_cosine,
    weight,
    redundancy_a,
    p,
    q,
    n_tests,
    run
FROM feature_pairs;
