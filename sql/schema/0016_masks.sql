-- masks: named conditions over tokens.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE masks (
    mask VARCHAR NOT NULL,
    predicate VARCHAR NOT NULL,
    fingerprint VARCHAR NOT NULL
);
