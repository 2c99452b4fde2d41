-- migrations: schema files that this lake has applied.
-- in:  nothing
-- out: the empty table; its columns are described in storage/fields.py
CREATE TABLE migrations (
    version BIGINT NOT NULL,
    name VARCHAR NOT NULL,
    sha256 VARCHAR NOT NULL,
    applied TIMESTAMP NOT NULL,
    actlake_version VARCHAR NOT NULL
);
