-- designs: what the groups of each split of a hypothesis search allow it to show.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE designs (
    run VARCHAR NOT NULL,
    target VARCHAR NOT NULL,
    level VARCHAR NOT NULL,
    codes VARCHAR NOT NULL,
    grouped_by VARCHAR NOT NULL,
    unit VARCHAR NOT NULL,
    split VARCHAR NOT NULL,
    documents BIGINT NOT NULL,
    n_groups BIGINT NOT NULL,
    n_units BIGINT NOT NULL,
    smallest_p DOUBLE,
    smallest_effect DOUBLE,
    intraclass DOUBLE
);
