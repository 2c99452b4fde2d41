"""Which store holds the files of a lake."""

from pathlib import Path

from actlake.storage.errors import LakeError
from actlake.storage.local_store import LocalStore
from actlake.storage.s3_store import S3Store
from actlake.storage.settings import StorePlace, read_settings
from actlake.storage.store import Store

__all__ = ["store_at", "store_found"]


def store_at(root: Path, place: StorePlace) -> Store:
    """The store that ``place`` names, of the lake at ``root``; see the classes for errors."""
    return S3Store(root, place.url) if place.kind == "s3" else LocalStore(root)


def store_found(root: Path) -> Store:
    """The store of a lake that may be damaged: its folder where ``lake.toml`` cannot be read."""
    try:
        place = read_settings(root).store
    except LakeError:
        place = StorePlace()
    return store_at(root, place)
