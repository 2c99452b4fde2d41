-- comparisons: how two codes were compared, and what of the text they share.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE comparisons (
    codes_a VARCHAR NOT NULL,
    codes_b VARCHAR NOT NULL,
    mask VARCHAR NOT NULL,
    method VARCHAR NOT NULL,
    documents BIGINT,
    units BIGINT,
    text_aligned DOUBLE,
    rows_aligned_a DOUBLE,
    rows_aligned_b DOUBLE,
    min_fires INTEGER,
    permutations INTEGER,
    tested_a INTEGER NOT NULL,
    tested_b INTEGER NOT NULL,
    mutual INTEGER NOT NULL,
    run VARCHAR NOT NULL
);
