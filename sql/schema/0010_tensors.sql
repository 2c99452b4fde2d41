-- tensors: activations of one model at one site over one rowset.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE tensors (
    tensor VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    site VARCHAR NOT NULL,
    module VARCHAR NOT NULL,
    side VARCHAR NOT NULL,
    rowset VARCHAR NOT NULL,
    dtype VARCHAR NOT NULL,
    compute_dtype VARCHAR NOT NULL,
    width BIGINT NOT NULL,
    rows BIGINT NOT NULL,
    fingerprint VARCHAR NOT NULL,
    id VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    run VARCHAR NOT NULL
);
