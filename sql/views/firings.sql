-- firings: what fires on each row, with the columns of its row: codes by row, as postings are by feature. In a lake it is read from the codes, so that what is asked of a row, a document or a token decides how much; in an exported file, from its postings.
-- in:  codes, tokens, postings
-- out: codes, rowset, row, document, position, token_id (NULL without a token), is_special of the row; feature; value (stored, > 0)
CREATE OR REPLACE VIEW firings AS
SELECT
    c.codes,
    c.rowset,
    t."row",
    t.document,
    t.position,
    t.token_id,
    t.is_special,
    p.feature,
    p.value
FROM postings AS p
INNER JOIN codes AS c USING (codes)
INNER JOIN tokens AS t ON t.rowset = c.rowset AND t."row" = p."row";
