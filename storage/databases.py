"""Which database holds the catalog of a lake."""

from pathlib import Path

from actlake.storage.database import Database
from actlake.storage.errors import LakeError
from actlake.storage.postgres_database import PostgresDatabase
from actlake.storage.settings import CatalogPlace, read_settings
from actlake.storage.sqlite_database import SqliteDatabase

__all__ = ["DATABASES", "database_at", "database_found"]

DATABASES = (*SqliteDatabase.names, *PostgresDatabase.names)
"""How faults call them."""


def database_at(root: Path, place: CatalogPlace) -> Database:
    """The database that ``place`` names, of the lake at ``root``; see the classes for errors."""
    if place.kind == "postgres":
        return PostgresDatabase(place.database, place.schema)
    return SqliteDatabase(root)


def database_found(root: Path) -> Database:
    """The database of a lake that may be damaged: SQLite where ``lake.toml`` cannot be read."""
    try:
        place = read_settings(root).catalog
    except LakeError:
        place = CatalogPlace()
    return database_at(root, place)
