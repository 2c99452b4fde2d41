-- characteristic_features: features worth showing of one codes: often enough to trust, rarely enough to mean something, on tokens or documents that they pick.
-- in:  feature_statistics, feature_tokens, codes_and_sets, vocabulary; $codes, $mask text; $limit
-- out: feature, profile, score, n_fires, density, max_active, selectivity_bits, token_bits, top_share (of firings on the top token), tokens (up to ten, by count)
--
-- A firing tells something about the row. How many bits is the divergence of the firing rows from
-- all rows: selectivity_bits = log2(n_rows / effective firings) for the row itself, where
-- effective firings (Σv)²/Σv² weigh a row by its value, and token_bits for its token, from the
-- kept token counts with all others as one token (grouping can only lower a divergence) less the
-- Miller-Madow bias (m - 1) / (2 n_fires ln 2). score = log2(n_fires) × (selectivity_bits +
-- token_bits): a pattern is worth its bits, and believed by how often it was seen.
-- Features of one token have the most token bits and the least to say, so the two profiles,
-- 'one token' (over half of the firings) and 'several tokens', are ranked apart and dealt in turn.
-- Where rows have no tokens, as documents, the profile is 'no tokens' and selectivity ranks alone.
-- Shown: density up to 5 %, 20 firings and 1 bit of token; over documents, which are few, density
-- up to 25 % and 5 firings.
WITH asked AS (
    SELECT
        c.codes,
        c.tokenizer,
        c.kind = 'document' AS is_document
    FROM codes_and_sets AS c
    WHERE c.codes = $codes
),

eligible AS (
    SELECT
        s.feature,
        s.n_rows,
        s.n_fires,
        s.density,
        s.max_active,
        log2(
            s.n_rows * (s.mean_active ** 2 + s.std_active ** 2) / (s.n_fires * s.mean_active ** 2)
        ) AS selectivity_bits
    FROM feature_statistics AS s
    INNER JOIN asked AS a USING (codes)
    WHERE
        s.mask = $mask
        AND s.n_fires >= CASE WHEN a.is_document THEN 5 ELSE 20 END
        AND s.density <= CASE WHEN a.is_document THEN 0.25 ELSE 0.05 END
),

-- p: share of the token among firings; p / lift: its share of all rows.
kept_tokens AS (
    SELECT
        t.feature,
        t.rank,
        v.text,
        e.n_fires,
        t.count / e.n_fires AS p,
        t.lift
    FROM feature_tokens AS t
    INNER JOIN eligible AS e USING (feature)
    INNER JOIN asked AS a USING (codes)
    LEFT JOIN vocabulary AS v ON v.tokenizer = a.tokenizer AND v.token_id = t.token_id
    WHERE t.mask = $mask AND t.kind = 'count'
),

profiles AS (
    SELECT
        feature,
        sum(p * log2(lift)) - (count(*) - 1) / (2 * any_value(n_fires) * ln(2)) AS kept_bits,
        1 - sum(p) AS rest_p,
        1 - sum(p / lift) AS rest_q,
        max(p) AS top_share,
        list(text ORDER BY rank) FILTER (WHERE rank <= 10) AS tokens
    FROM kept_tokens
    GROUP BY feature
),

scored AS (
    SELECT
        e.feature,
        CASE
            WHEN p.feature IS NULL THEN 'no tokens'
            WHEN p.top_share > 0.5 THEN 'one token'
            ELSE 'several tokens'
        END AS profile,
        e.n_fires,
        e.density,
        e.max_active,
        e.selectivity_bits,
        -- Rounding may leave a rest of -1e-16, which is none.
        p.kept_bits + CASE
            WHEN p.rest_p > 1e-9 AND p.rest_q > 1e-9 THEN p.rest_p * log2(p.rest_p / p.rest_q)
            ELSE 0
        END AS token_bits,
        p.top_share,
        p.tokens
    FROM eligible AS e
    LEFT JOIN profiles AS p USING (feature)
),

ranked AS (
    SELECT
        feature,
        profile,
        log2(n_fires) * (selectivity_bits + coalesce(token_bits, 0)) AS score,
        n_fires,
        density,
        max_active,
        selectivity_bits,
        token_bits,
        top_share,
        tokens
    FROM scored
    WHERE coalesce(token_bits, 1) >= 1
),

dealt AS (
    SELECT
        feature,
        profile,
        score,
        n_fires,
        density,
        max_active,
        selectivity_bits,
        token_bits,
        top_share,
        tokens,
        row_number() OVER (PARTITION BY profile ORDER BY score DESC, feature) AS turn
    FROM ranked
)
SELECT
    feature,
    profile,
    score,
    n_fires,
    density,
    max_active,
    selectivity_bits,
    token_bits,
    top_share,
    tokens
FROM dealt
ORDER BY turn, score DESC, feature
LIMIT $limit;
