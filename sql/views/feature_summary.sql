-- feature_summary: what is known of each feature under each mask, in one row; the thresholds of every flag stand here and nowhere else.
-- in:  feature_statistics, feature_profiles, density_clusters, features, feature_tokens, codes_and_sets, dictionaries, tensors, vocabulary
-- out: the key codes, mask, feature; the columns of feature_statistics; log10_density (NULL if dead); document_density, and consistent_activation = firing rows a document that fires; is_dead (never fires), is_rare (fires, on fewer than 1 row in 10,000), is_dense (on more than 1 in 10), is_always_on (on more than 1 in 2), is_ultra_low_density (in the lower of two groups of densities that stand apart, as density_clusters has them), is_single_token (more than 9 in 10 firings on one token), is_positional (more than 9 in 10 firings in one bin of positions, and twice what its rows let expect), is_duplicate (cosine above 0.9 with the decoder direction of another feature; NULL without weights); the columns of feature_profiles and of features that say most; top_token by count and lift_token by lift as text, each with its count and lift (NULL without tokens); what the codes were made of (no tensor and rowset of a set)
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
    s.density > 0.5 AS is_always_on,
    s.n_fires > 0
    AND coalesce(
        -- Few features, or groups that both are common, are no ultra-low-density cluster.
        k.n_alive >= 20
        AND k.separation > 4
        AND k.split_log10_density < -3
        AND log10(nullif(s.density, 0)) <= k.split_log10_density,
        FALSE
    ) AS is_ultra_low_density,
    coalesce(p.top_token_share > 0.9, FALSE) AS is_single_token,
    coalesce(p.position_peak_share > 0.9 AND p.position_lift > 2, FALSE) AS is_positional,
    w.nearest_decoder_cosine > 0.9 AS is_duplicate,
    s.n_documents,
    s.n_documents_fires,
    s.n_documents_fires / nullif(s.n_documents, 0) AS document_density,
    s.n_fires / nullif(s.n_documents_fires, 0) AS consistent_activation,
    s.gini_documents,
    s.n_sources,
    s.n_sources_fires,
    s.gini_sources,
    s.mean_active,
    s.std_active,
    s.min_active,
    s.max_active,
    s.q50_active,
    s.q90_active,
    s.q99_active,
    s.skew_active,
    s.kurtosis_active,
    s.mean_all,
    s.std_all,
    s.skew_all,
    s.kurtosis_all,
    s.q90_all,
    s.q99_all,
    s.q999_all,
    p.n_tokens,
    p.token_entropy,
    p.token_bits,
    p.top_token_share,
    p.previous_token_share,
    p.next_token_share,
    p.space_share,
    p.capital_share,
    p.digit_share,
    p.punctuation_share,
    p.position_bits,
    p.position_peak,
    p.position_peak_share,
    p.position_lift,
    p.burstiness,
    w.decoder_norm,
    w.encoder_decoder_cosine,
    w.nearest_decoder,
    w.nearest_decoder_cosine,
    w.nearest_decoder_p,
    w.participation_ratio,
    w.logit_skew,
    w.logit_kurtosis,
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
LEFT JOIN feature_profiles AS p USING (codes, mask, feature)
LEFT JOIN density_clusters AS k USING (codes, mask)
LEFT JOIN first_tokens AS t USING (codes, mask, feature)
LEFT JOIN codes_and_sets AS c USING (codes)
LEFT JOIN features AS w ON w.dictionary = c.dictionary AND w.feature = s.feature
LEFT JOIN dictionaries AS d ON d.dictionary = c.dictionary
LEFT JOIN tensors AS a ON a.tensor = c.tensor
LEFT JOIN vocabulary AS by_count
    ON by_count.tokenizer = c.tokenizer AND by_count.token_id = t.top_token_id
LEFT JOIN vocabulary AS by_lift
    ON by_lift.tokenizer = c.tokenizer AND by_lift.token_id = t.lift_token_id;
