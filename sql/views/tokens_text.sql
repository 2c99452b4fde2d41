-- tokens_text: every row of every rowset with its text.
-- in:  tokens, rowsets, documents, vocabulary
-- out: the columns of tokens; corpus; source_id of the document; text: the document from char_start to char_stop, so a piece of a character shows the whole one, for specials and patches the vocabulary's text, for document rows all of it; token: the vocabulary's text, NULL without a token
CREATE OR REPLACE VIEW tokens_text AS
SELECT
    t.rowset,
    t."row",
    t.document,
    t."window",
    t.position,
    t.window_position,
    t.token_id,
    t.char_start,
    t.char_stop,
    t.is_special,
    r.corpus,
    d.source_id,
    CASE
        WHEN t.is_special OR r.kind = 'patch' THEN coalesce(v.text, '')
        -- substring counts code points from 1, as char_start counts them from 0; graphemes are another function.
        ELSE substring(d.text, t.char_start + 1, t.char_stop - t.char_start)
    END AS text,
    v.text AS token
FROM tokens AS t
LEFT JOIN rowsets AS r USING (rowset)
LEFT JOIN documents AS d ON d.corpus = r.corpus AND d.document = t.document
LEFT JOIN vocabulary AS v ON v.tokenizer = r.tokenizer AND v.token_id = t.token_id;
