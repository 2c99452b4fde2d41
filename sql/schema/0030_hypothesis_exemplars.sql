-- hypothesis_exemplars: the documents in which the feature of a hypothesis is strongest.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE hypothesis_exemplars (
    run VARCHAR NOT NULL,
    target VARCHAR NOT NULL,
    level VARCHAR NOT NULL,
    codes VARCHAR NOT NULL,
    feature INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    document BIGINT NOT NULL,
    value DOUBLE NOT NULL
);
