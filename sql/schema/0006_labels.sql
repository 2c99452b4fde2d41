-- labels: values attached to documents or character spans.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE labels (
    corpus VARCHAR NOT NULL,
    label VARCHAR NOT NULL,
    document BIGINT NOT NULL,
    char_start BIGINT,
    char_stop BIGINT,
    value_text VARCHAR,
    value_real DOUBLE
);
