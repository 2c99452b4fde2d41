"""What the server that forks children has behind it already."""

import tests.storage.conformance.protocol
from actlake.storage.duck import connect
from actlake.storage.postgres_database import PostgresDatabase
from actlake.storage.s3_store import S3Store
from actlake.storage.sqlite_database import SqliteDatabase

__all__ = ["tests"]

# The signatures of the extensions are checked, for all that are forked.
connect(
    extensions=(
        *SqliteDatabase.extensions,
        *PostgresDatabase.extensions,
        *S3Store.extensions,
    )
).close()
