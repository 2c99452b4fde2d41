-- codes: one dictionary encoded over one tensor.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE codes (
    codes VARCHAR NOT NULL,
    dictionary VARCHAR NOT NULL,
    tensor VARCHAR NOT NULL,
    rowset VARCHAR NOT NULL,
    n_features BIGINT NOT NULL,
    nnz BIGINT,
    rows BIGINT NOT NULL,
    dtype VARCHAR NOT NULL,
    fingerprint VARCHAR NOT NULL,
    id VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    run VARCHAR NOT NULL
);
