"""What no snapshot names: found among the files of a lake, so that it can be removed."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from actlake.storage.unnamed import NAMING, Rows, named_paths, snapshot_numbers

__all__ = ["files_below", "leftovers", "named_parquet"]


def leftovers(root: Path, rows: Rows, before: datetime, horizon: datetime) -> Iterator[Path]:
    """Files and folders that no snapshot names, each as soon as it is found to be old enough.

    Those of snapshots that were forgotten ``before``, and others last written before ``horizon``.
    """
    yield from _expired(root, rows, before)
    yield from _tables_orphans(root, rows, horizon)
    yield from _folder_orphans(root, rows, horizon)
    yield from _aside(root, horizon)


def _expired(root: Path, rows: Rows, before: datetime) -> Iterator[Path]:
    """Files whose snapshots have expired for long enough."""
    query = """
        SELECT path FROM __ducklake_metadata_lake.ducklake_files_scheduled_for_deletion
        WHERE schedule_start::TIMESTAMPTZ < $before ORDER BY path
    """
    names = rows(query, before=before.replace(tzinfo=UTC))
    yield from (root / "tables" / str(name) for (name,) in names)


def _tables_orphans(root: Path, rows: Rows, horizon: datetime) -> Iterator[Path]:
    named = set(named_parquet(rows))
    for path in files_below(root / "tables"):
        # By name, which is random and never used again.
        if path.name not in named and _is_older(path, horizon):
            yield path


def _folder_orphans(root: Path, rows: Rows, horizon: datetime) -> Iterator[Path]:
    numbers = snapshot_numbers(rows)
    for table in NAMING:
        named = named_paths(root, rows, table, numbers)
        for path in sorted((root / table).iterdir()):
            if path.relative_to(root).as_posix() not in named and _is_older(path, horizon):
                yield path


def _aside(root: Path, horizon: datetime) -> Iterator[Path]:
    """What killed writers left beside a name that they were about to give."""
    for folder in ("", "checkpoints/", "tensors/*/", "codes/*/"):
        for path in sorted(root.glob(f"{folder}.*.tmp")):
            if _is_older(path, horizon):
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


def _is_older(path: Path, horizon: datetime) -> bool:
    """Whether ``path`` and all below it were last written before ``horizon``.

    What vanishes meanwhile was there for a writer who is at work, so it is not.
    """
    try:
        return all(_written(one) < horizon for one in (path, *path.rglob("*")))
    except FileNotFoundError:
        return False


def files_below(folder: Path) -> list[Path]:
    """Every file below ``folder`` in order; of a folder that vanishes, none."""
    return sorted(Path(at, name) for at, _, names in os.walk(folder) for name in names)


def _written(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).replace(tzinfo=None)
