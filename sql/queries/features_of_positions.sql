-- features_of_positions: what fires at some positions of one document, strongest first at each; one position is a range from it to itself.
-- in:  firings, tokens_text, feature_summary; $codes, $mask text; $document index in the corpus of the codes; $first, $last positions in it, both among them; $limit features of each row
-- out: row; position and text of it; feature; value; n_features (that fire on the row); density and top_token of the feature (NULL without a summary under the mask); rows on which nothing fires are left out
WITH fired AS (
    SELECT
        rowset,
        "row",
        position,
        feature,
        value,
        count(*) OVER (PARTITION BY "row") AS n_features,
        row_number() OVER (PARTITION BY "row" ORDER BY value DESC, feature) AS place
    FROM firings
    WHERE codes = $codes AND document = $document AND position BETWEEN $first AND $last
)
SELECT
    f."row",
    f.position,
    t.text,
    f.feature,
    f.value,
    f.n_features,
    s.density,
    s.top_token
FROM fired AS f
INNER JOIN tokens_text AS t ON t.rowset = f.rowset AND t."row" = f."row"
LEFT JOIN feature_summary AS s
    ON s.codes = $codes AND s.mask = $mask AND s.feature = f.feature
WHERE f.place <= $limit
ORDER BY f."row", f.place;
