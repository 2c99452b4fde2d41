-- codes_sets: which codes a set that was summarized under a mask is made of.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE codes_sets (
    codes VARCHAR NOT NULL,
    mask VARCHAR NOT NULL,
    place BIGINT NOT NULL,
    member VARCHAR NOT NULL,
    run VARCHAR NOT NULL
);
