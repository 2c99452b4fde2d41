-- postings: values of codes, feature-major.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE postings (
    codes VARCHAR NOT NULL,
    feature INTEGER NOT NULL,
    "row" BIGINT NOT NULL,
    value FLOAT NOT NULL
);
