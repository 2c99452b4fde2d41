-- feature_neighbours: which decoder directions of a dictionary are most like each other.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE feature_neighbours (
    dictionary VARCHAR NOT NULL,
    feature INTEGER NOT NULL,
    rank BIGINT NOT NULL,
    neighbour INTEGER NOT NULL,
    cosine DOUBLE NOT NULL,
    p DOUBLE,
    run VARCHAR NOT NULL
);
