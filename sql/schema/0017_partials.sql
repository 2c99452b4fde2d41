-- partials: states of statistics, one a shard, that merge.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE partials (
    codes VARCHAR NOT NULL,
    mask VARCHAR NOT NULL,
    statistic VARCHAR NOT NULL,
    shard BIGINT NOT NULL,
    code_version VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    bytes BIGINT NOT NULL,
    xxh3_128 VARCHAR NOT NULL,
    run VARCHAR NOT NULL
);
