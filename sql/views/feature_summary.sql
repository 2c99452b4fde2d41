-- feature_summary: what is known of each feature under each mask, in one row; the thresholds of dead, rare and dense stand here and nowhere else.
-- in:  feature_statistics, feature_tokens, codes, rowsets, dictionaries, tensors, vocabulary
-- out: the key codes, mask, feature; the columns of feature_statistics; log10_density (NULL if dead); is_dead (never fires), is_rare (fires, on fewer than 1 row in 10,000), is_dense (fires on more than 1 in 10); top_token by count and lift_token by lift as text, each with its count and lift (NULL without tokens); what the codes were made of
CREATE OR REPLACE VIEW feature_summary AS
WITH first_tokens AS (
    SELECT
        codes,
        mask,
        feature,
        max(token_id) FILTER (WHERE kind = 'count') AS top_token_id,
        max(count) FILTER (WHERE kind = 'count') AS top_token_count,
        max(lift) FILTER (WHERE kind = 'count') AS top_token_lift,
        max(token_id) FILTER (WHERE kind = 'lift') AS lift_token_id,
        max(count) FILTER (WHERE kind = 'lift') AS lift_token_count,
        max(lift) FILTER (WHERE kind = 'lift') AS lift_token_lift
    FROM feature_tokens
    WHERE rank = 1
    GROUP BY codes, mask, feature
)
SELECT
    s.codes,
    s.mask,
    s.feature,
    s.n_rows,
    s.n_fires,
    s.density,
    CASE WHEN s.n_fires > 0 THEN log10(s.density) END AS log10_density,
    s.n_fires = 0 AS is_dead,
    s.n_fires > 0 AND s.density < 1e-4 AS is_rare,
    s.density > 0.1 AS is_dense,
    s.mean_active,
    s.std_active,
    s.min_active,
    s.max_active,
    s.q50_active,
    s.q90_active,
    s.q99_active,
    s.mean_all,
    s.std_all,
    s.skew_all,
    s.kurtosis_all,
    by_count.text AS top_token,
    t.top_token_count,
    t.top_token_lift,
    by_lift.text AS lift_token,
    t.lift_token_count,
    t.lift_token_lift,
    c.dictionary,
    d.method,
    c.tensor,
    a.model,
    a.site,
    c.rowset,
    s.run
FROM feature_statistics AS s
LEFT JOIN first_tokens AS t USING (codes, mask, feature)
LEFT JOIN codes AS c USING (codes)
LEFT JOIN dictionaries AS d ON d.dictionary = c.dictionary
LEFT JOIN tensors AS a ON a.tensor = c.tensor
LEFT JOIN rowsets AS r ON r.rowset = c.rowset
LEFT JOIN vocabulary AS by_count
    ON by_count.tokenizer = r.tokenizer AND by_count.token_id = t.top_token_id
LEFT JOIN vocabulary AS by_lift
    ON by_lift.tokenizer = r.tokenizer AND by_lift.token_id = t.lift_token_id;
