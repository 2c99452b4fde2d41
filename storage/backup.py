"""Backups of what exists once: the catalog, the claims and ``lake.toml``.

Data files are immutable, so a backup does not copy them: it pins its snapshot, which keeps them.
It protects against a damaged or deleted catalog; against the loss of the disk, copy the whole lake.
"""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from actlake.storage import sqlite_copy
from actlake.storage.catalog import Catalog
from actlake.storage.claims import Claims
from actlake.storage.databases import database_found
from actlake.storage.durable import (
    Digest,
    digest,
    flush,
    make_folder,
    publish_folder,
    sealed,
    staging_path,
)
from actlake.storage.errors import CorruptError, InputError, LakeError, NotFoundError
from actlake.storage.lock import locked
from actlake.storage.parquet_files import FILES
from actlake.storage.settings import actlake_version, refuse_links
from actlake.storage.snapshots import current_snapshot
from actlake.storage.sqlite_database import SqliteDatabase
from actlake.storage.store import Store
from actlake.storage.stores import store_found
from actlake.storage.transaction import Transaction

__all__ = ["Backup", "back_up", "backups", "chosen_backup", "drop_backups", "restore"]

FOLDER, RECORD, LOCK = "backups", "backup.json", ".lock"
DATABASES = SqliteDatabase.names
COPIED = (*DATABASES, "lake.toml")
COPY_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup of the lake as it was at one snapshot."""

    snapshot: int
    made: str
    """UTC, ISO 8601."""
    folder: Path
    files: Mapping[str, Digest]

    @property
    def bytes(self) -> int:
        return sum(one.bytes for one in self.files.values())


def back_up(root: Path, catalog: Catalog, claims: Claims, *, keep: int) -> Backup:
    """Copy the catalog at the newest snapshot to ``backups/<snapshot>/``; keep the ``keep`` newest.

    No commit is made while the databases are copied, by a process of their own: see
    ``sqlite_copy``. The copies are checked when others may commit again. What is there already of
    that snapshot stays. LakeError if a copy fails, CorruptError if it is damaged, as the catalog
    then is; BusyError if another process is at it for two minutes. InputError for a catalog that is
    not in the lake, with what to run instead.
    """
    if keep < 1:
        raise InputError(f"a backup that is made is kept, so {keep} cannot be; keep 1 or more")
    if elsewhere := claims.database.backup_elsewhere():
        raise InputError(
            f"{claims.database.catalog} is backed up there; pin the newest snapshot with `actlake "
            f"pin`, so that its files stay, and run {elsewhere}"
        )
    refuse_links(root)  # one may have come since the lake was opened
    make_folder(root / FOLDER)
    with locked(root / FOLDER / LOCK):
        _clear(root)
        snapshot = _make(root, catalog, claims)
        kept = backups(root)
        for old in kept[:-keep]:
            aside = staging_path(old.folder)  # at once, so that none is ever there in part
            old.folder.rename(aside)
            shutil.rmtree(aside)
        stay = {_why(one.snapshot) for one in kept[-keep:]}
        for _, why in claims.pins():
            if why.startswith(_why("")) and why not in stay:
                claims.unpin(why)
    return next(one for one in kept if one.snapshot == snapshot)


def backups(root: Path) -> list[Backup]:
    """Every whole backup of the lake at ``root``, oldest first; CorruptError if one is damaged."""
    return sorted(
        (_read(path.parent) for path in (root / FOLDER).glob(f"[0-9]*/{RECORD}")),
        key=lambda one: one.snapshot,
    )


def drop_backups(root: Path, claims: Claims, *, through: int) -> int:
    """Remove the backups up to snapshot ``through``, and what was replaced by others; how many.

    For when files are gone that they name, so that they could not be restored whole.
    """
    refuse_links(root)
    if not (root / FOLDER).is_dir():
        return 0
    with locked(root / FOLDER / LOCK):
        doomed = [
            path
            for path in (root / FOLDER).iterdir()
            if path.name.startswith("replaced-")
            or (path.name.isdecimal() and int(path.name) <= through)
        ]
        for path in doomed:
            aside = staging_path(path)
            path.rename(aside)
            shutil.rmtree(aside)
            claims.unpin(_why(path.name))
    return len(doomed)


def chosen_backup(root: Path, snapshot: int | None = None) -> Backup:
    """The backup of ``snapshot``, by default the newest; NotFoundError if there is none.

    InputError for a catalog that is not in the lake, with what to run instead.
    """
    if elsewhere := database_found(root).backup_elsewhere():
        raise InputError(
            f"its catalog is not in the lake; put back what {elsewhere} has written, "
            "with pg_restore"
        )
    found = [one for one in backups(root) if snapshot in (None, one.snapshot)]
    if not found:
        which = "" if snapshot is None else f" of snapshot {snapshot}"
        raise NotFoundError(f"no backup{which} in {root / FOLDER}; see `actlake backup --list`")
    return found[-1]


def restore(root: Path, snapshot: int | None = None) -> int:
    """Put the catalog of a backup, by default the newest, in its place; its snapshot.

    For when nothing else has the lake open. What is replaced, and backups that are newer, go to
    ``backups/replaced-<time>/``.
    Snapshots that the backup knows and whose files have been removed since are forgotten.
    NotFoundError if there is no such backup, CorruptError if it is not what it was.
    """
    backup = chosen_backup(root, snapshot)
    there = backups(root)
    for name, expected in backup.files.items():
        path = backup.folder / name
        if not path.is_file():
            raise CorruptError(f"{path} is missing; restore another backup")
        if digest(path) != expected:
            raise CorruptError(f"{path} is not what was backed up; restore another backup")
    with locked(root / "catalog.lock"):
        aside = root / FOLDER / f"replaced-{_now():%Y%m%d-%H%M%S-%f}"
        make_folder(aside)
        for newer in there:  # of what no longer happened; its numbers will come again
            if newer.snapshot > backup.snapshot:
                newer.folder.rename(aside / newer.folder.name)
        for name in backup.files:
            # With its log, which would else be read into the file that comes in its place.
            for old in sorted(root.glob(f"{name}*"), reverse=True):
                old.rename(aside / old.name)
            staged = staging_path(root / name)
            shutil.copyfile(backup.folder / name, staged)
            flush(staged)
            staged.replace(root / name)
        flush(root)
    claims = Claims(SqliteDatabase(root))
    catalog = Catalog(store_found(root), claims)
    try:
        forget = partial(_forget_incomplete, catalog.store)
        catalog.commit(forget, f"restored backup {backup.snapshot}")
    finally:
        catalog.close()
    return backup.snapshot


def _clear(root: Path) -> None:
    """Remove what a killed process left in ``backups/``; nobody else is at work there."""
    for path in (root / FOLDER).iterdir():
        staged = path.name.startswith(".") and path.suffix == ".tmp"
        if staged or (path.name.isdecimal() and not (path / RECORD).exists()):
            shutil.rmtree(path, ignore_errors=True)


def _make(root: Path, catalog: Catalog, claims: Claims) -> int:
    """The newest snapshot, which has a backup now."""
    staged = staging_path(root / FOLDER / "new")
    staged.mkdir()
    snapshot = None
    try:
        with catalog.locked():
            with closing(catalog.attached()) as connection:
                snapshot = current_snapshot(connection)
            final = root / FOLDER / str(snapshot)
            if final.exists():
                return snapshot
            claims.pin(snapshot, _why(snapshot))  # before the copy, which then holds it too
            _copy(root, staged)
        _complete(staged, snapshot)
        publish_folder(staged, final)
    except BaseException:
        if snapshot is not None:
            claims.unpin(_why(snapshot))
        raise
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return snapshot


def _copy(root: Path, folder: Path) -> None:
    """Copy what exists once into ``folder``; call it under the commit lock."""
    pairs = [str(one / name) for name in DATABASES for one in (root, folder)]
    command = [sys.executable, "-I", sqlite_copy.__file__, *pairs]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=COPY_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise LakeError(
            f"{root} could not be backed up in {COPY_SECONDS:,.0f} s; see what slows its disk"
        ) from None
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise LakeError(f"{root} could not be backed up ({reason}); see the disk and try again")
    shutil.copyfile(root / "lake.toml", folder / "lake.toml")


def _complete(folder: Path, snapshot: int) -> None:
    """Check the copies in ``folder`` and write their record."""
    for name in DATABASES:
        try:  # in this process, as DuckDB never opens a copy
            sqlite_copy.check_sqlite(folder / name)
        except sqlite3.Error as error:
            raise CorruptError(
                f"{folder.parents[1] / name} could not be backed up ({error}); "
                "restore an older backup"
            ) from error
    record = {
        "snapshot": snapshot,
        "made": f"{_now().isoformat(timespec='seconds')}Z",
        "actlake_version": actlake_version(),
        "files": {name: asdict(digest(folder / name)) for name in COPIED},
    }
    (folder / RECORD).write_text(json.dumps(sealed(record), indent=1) + "\n", "utf-8")


def _read(folder: Path) -> Backup:
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        files = {name: Digest(**facts) for name, facts in record["files"].items()}
        if {*files} != {*COPIED}:  # another name could lead out of the lake
            raise ValueError(sorted(files))
        return Backup(int(record["snapshot"]), str(record["made"]), folder, files)
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        RecursionError,
    ) as error:
        raise CorruptError(f"{folder / RECORD} is damaged; remove that backup") from error


def _forget_incomplete(store: Store, transaction: Transaction) -> None:
    """Expire the snapshots, except the newest, of which a file is not there any more."""
    files = transaction.rows(
        f"SELECT path, begin_snapshot, end_snapshot FROM {FILES} WHERE end_snapshot IS NOT NULL"  # noqa: S608
    )
    gone = [
        (int(str(begin)), int(str(end)))
        for path, begin, end in files
        if not store.exists(store.root / str(path))
    ]
    known = transaction.rows("SELECT snapshot_id FROM ducklake_snapshots('lake')")
    lost = [
        number
        for number in (int(str(one)) for (one,) in known)
        if any(begin <= number < end for begin, end in gone)
    ]
    if lost:
        statement = "CALL ducklake_expire_snapshots('lake', versions => $lost)"
        transaction.execute(statement, lost=lost)


def _why(snapshot: int | str) -> str:
    return f"backup {snapshot}"


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
