-- codes_and_sets: whatever tables of statistics call codes: codes, and sets of them that were summarized together.
-- in:  codes, codes_sets, rowsets
-- out: codes (a name), members (1 for codes), dictionary, tensor and rowset (NULL for a set), kind and tokenizer of the rows (one for all members), n_features
CREATE OR REPLACE VIEW codes_and_sets AS
SELECT
    c.codes,
    1 AS members,
    c.dictionary,
    c.tensor,
    c.rowset,
    r.kind,
    r.tokenizer,
    c.n_features
FROM codes AS c
LEFT JOIN rowsets AS r USING (rowset)
UNION ALL
SELECT
    s.codes,
    count(DISTINCT s.member) AS members,
    any_value(c.dictionary) AS dictionary,
    NULL AS tensor,
    NULL AS rowset,
    any_value(r.kind) AS kind,
    any_value(r.tokenizer) AS tokenizer,
    any_value(c.n_features) AS n_features
FROM codes_sets AS s
INNER JOIN codes AS c ON c.codes = s.member
INNER JOIN rowsets AS r ON r.rowset = c.rowset
GROUP BY s.codes;
