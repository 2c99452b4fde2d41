"""What no snapshot names: found among the files of a lake, so that it can be removed."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from actlake.storage.durable import is_staged
from actlake.storage.store import Store
from actlake.storage.unnamed import (
    NAMING,
    Rows,
    Tables,
    committed_shards,
    named_paths,
    snapshot_numbers,
)

__all__ = ["leftovers", "named_parquet"]

_SHARD = re.compile(r"(?:c\.)?(\d+)(?:\.0)?")
"""Name of a shard: of a file of a tensor, or of a folder of codes."""


def leftovers(tables: Tables, before: datetime, horizon: datetime) -> Iterator[Path]:
    """Files and folders that no snapshot names, each as soon as it is found to be old enough.

    Those of snapshots that were forgotten ``before``, and others last written before ``horizon``.
    """
    yield from _expired(tables.store.root, tables.rows, before)
    yield from _tables_orphans(tables.store, tables.rows, horizon)
    yield from _folder_orphans(tables, horizon)
    yield from _shard_orphans(tables, horizon)
    yield from _done_checkpoints(tables, horizon)
    yield from _aside(tables.store, horizon)


def _expired(root: Path, rows: Rows, before: datetime) -> Iterator[Path]:
    """Files whose snapshots have expired for long enough."""
    query = """
        SELECT path FROM __ducklake_metadata_lake.ducklake_files_scheduled_for_deletion
        WHERE schedule_start::TIMESTAMPTZ < $before ORDER BY path
    """
    names = rows(query, before=before.replace(tzinfo=UTC))
    yield from (root / "tables" / str(name) for (name,) in names)


def _tables_orphans(store: Store, rows: Rows, horizon: datetime) -> Iterator[Path]:
    named = set(named_parquet(rows))
    for one in store.files(store.root / "tables"):
        # By name, which is random and never used again.
        if one.path.name not in named and _is_older(store, one.path, horizon):
            yield one.path


def _folder_orphans(tables: Tables, horizon: datetime) -> Iterator[Path]:
    store, numbers = tables.store, snapshot_numbers(tables.rows)
    for table in NAMING:
        named = named_paths(tables, table, numbers)
        for path in store.children(store.root / table):
            known = path.relative_to(store.root).as_posix() in named
            if not known and not is_staged(path) and _is_older(store, path, horizon):
                yield path


def _shard_orphans(tables: Tables, horizon: datetime) -> Iterator[Path]:
    """Published shards that no commit took in; what is complete has none."""
    query = """
        SELECT 'tensors', id FROM tensors WHERE state = 'planned'
        UNION ALL SELECT 'codes', id FROM codes WHERE state = 'planned' ORDER BY ALL
    """
    folders = [tables.store.root / str(kind) / str(id_) for kind, id_ in tables.rows(query)]
    committed = committed_shards(tables, [one.name for one in folders]) if folders else {}
    for folder in folders:
        # Where a tensor has one array they are in its folder, else in one of each array's name.
        for place in (folder, folder / "rows", folder / "scale"):
            for path in tables.store.children(place) if tables.store.exists(place) else ():
                shard = _SHARD.fullmatch(path.name)
                known = not shard or int(shard[1]) in committed[folder.name]
                if not known and _is_older(tables.store, path, horizon):
                    yield path


def _done_checkpoints(tables: Tables, horizon: datetime) -> Iterator[Path]:
    """Checkpoints on this disk that no training goes on from, since its dictionary is there."""
    query = """
        SELECT DISTINCT key FROM runs
        WHERE flow = 'train' AND (parameters ->> '$.dictionary') NOT IN (
            SELECT dictionary FROM dictionaries
        )
    """
    needed = {str(key) for (key,) in tables.rows(query)}
    for path in sorted((tables.store.root / "checkpoints").glob("*.safetensors")):
        if path.stem not in needed and _is_older(tables.store, path, horizon):
            yield path


def _aside(store: Store, horizon: datetime) -> Iterator[Path]:
    """What killed writers left on this disk beside a name that they were about to give."""
    below = (
        "",
        "backups/",
        "checkpoints/",
        "tensors/*/",
        "tensors/*/*/",
        "codes/*/",
        *(f"{one}/" for one in NAMING),
    )
    for folder in below:
        for path in sorted(store.root.glob(f"{folder}.*.tmp")):
            if _is_older(store, path, horizon):
                yield path


def named_parquet(rows: Rows) -> Iterator[str]:
    """Names of all Parquet files that the catalog knows, needed by a snapshot or not."""
    query = """
        SELECT parse_filename(path) FROM __ducklake_metadata_lake.ducklake_data_file
        UNION ALL
        SELECT parse_filename(path) FROM __ducklake_metadata_lake.ducklake_delete_file
        UNION ALL
        SELECT parse_filename(path)
        FROM __ducklake_metadata_lake.ducklake_files_scheduled_for_deletion
    """
    return (str(name) for (name,) in rows(query))


def _is_older(store: Store, path: Path, horizon: datetime) -> bool:
    """Whether ``path`` and all below it were last written before ``horizon``.

    What vanishes meanwhile was there for a writer who is at work, so it is not.
    """
    try:
        return store.written(path) < horizon
    except FileNotFoundError:
        return False
