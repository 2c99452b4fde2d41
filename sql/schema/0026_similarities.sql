-- similarities: how alike two tensors are over the rows that they share.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE similarities (
    tensor_a VARCHAR NOT NULL,
    tensor_b VARCHAR NOT NULL,
    mask VARCHAR NOT NULL,
    method VARCHAR NOT NULL,
    value DOUBLE NOT NULL,
    null_mean DOUBLE NOT NULL,
    cut_mean DOUBLE NOT NULL,
    null_share DOUBLE NOT NULL,
    n BIGINT NOT NULL,
    documents BIGINT NOT NULL,
    text_aligned DOUBLE NOT NULL,
    permutations INTEGER NOT NULL,
    p DOUBLE NOT NULL,
    q DOUBLE NOT NULL,
    run VARCHAR NOT NULL
);
