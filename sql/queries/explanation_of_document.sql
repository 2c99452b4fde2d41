-- explanation_of_document: how much of a document its features account for: of its rows, and of all that fires in it.
-- in:  firings, codes, tokens, feature_summary; $codes, $mask text; $document index in the corpus of the codes; $limit
-- out: feature; n_rows (of the document, specials left out), n_fires (of those, where it fires), row_share = n_fires / n_rows; mass (sum of its values), mass_share (of the values of all features there), mass_share_to_here (of this and those above it), both in (0, 1]; density under the mask and top_token (NULL without a summary under it); largest mass first
WITH counted AS (
    SELECT count(*) AS n_rows
    FROM codes AS c
    INNER JOIN tokens AS t USING (rowset)
    WHERE c.codes = $codes AND t.document = $document AND NOT t.is_special
),

fired AS (
    SELECT
        feature,
        count(*) AS n_fires,
        sum(value) AS mass
    FROM firings
    WHERE codes = $codes AND document = $document AND NOT is_special
    GROUP BY feature
),

shares AS (
    SELECT
        feature,
        n_fires,
        mass,
        mass / sum(mass) OVER () AS mass_share,
        sum(mass) OVER (ORDER BY mass DESC, feature) / sum(mass) OVER () AS mass_share_to_here
    FROM fired
)
SELECT
    h.feature,
    c.n_rows,
    h.n_fires,
    h.n_fires / c.n_rows AS row_share,
    h.mass,
    h.mass_share,
    h.mass_share_to_here,
    s.density,
    s.top_token
FROM shares AS h
CROSS JOIN counted AS c
LEFT JOIN feature_summary AS s
    ON s.codes = $codes AND s.mask = $mask AND s.feature = h.feature
ORDER BY h.mass DESC, h.feature
LIMIT $limit;
