-- hypothesis_phrases: words that set firing documents of a hypothesis apart from silent ones.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE hypothesis_phrases (
    run VARCHAR NOT NULL,
    target VARCHAR NOT NULL,
    level VARCHAR NOT NULL,
    codes VARCHAR NOT NULL,
    feature INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    phrase VARCHAR NOT NULL,
    firing BIGINT NOT NULL,
    silent BIGINT NOT NULL,
    z DOUBLE NOT NULL
);
