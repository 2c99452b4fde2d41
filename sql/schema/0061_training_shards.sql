-- training_shards: which shards of its tensor a training took rows from.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE training_shards (
    dictionary VARCHAR NOT NULL,
    shard BIGINT NOT NULL,
    rows BIGINT NOT NULL,
    first_step BIGINT,
    run VARCHAR NOT NULL
);
