-- shards: receipts: an array's shard exists if and only if it has a row here.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE shards (
    owner VARCHAR NOT NULL,
    "array" VARCHAR NOT NULL,
    shard BIGINT NOT NULL,
    row_start BIGINT NOT NULL,
    row_stop BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    payload_crc32c BIGINT NOT NULL,
    xxh3_128 VARCHAR NOT NULL,
    nonfinite BIGINT NOT NULL,
    norm_mean DOUBLE,
    token_budget BIGINT,
    torch_threads BIGINT,
    run VARCHAR NOT NULL
);
