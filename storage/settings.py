"""``lake.toml``: what marks a folder as a lake, and which format it has."""

import json
import os
import re
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

from actlake.storage.bucket import URL
from actlake.storage.durable import Digest, make_folder, publish
from actlake.storage.errors import DiskError, FormatError, InputError

__all__ = [
    "FORMAT",
    "CatalogPlace",
    "Settings",
    "StorePlace",
    "actlake_version",
    "new_settings",
    "prepare_folder",
    "read_settings",
    "refuse_links",
    "write_settings",
]

FORMAT = 1
"""Number of the lake format that this version writes; it reads this one and older ones."""

NETWORK_FILE_SYSTEMS = frozenset(
    "nfs nfs4 cifs smb3 smbfs afpfs 9p fuse.sshfs lustre gpfs beegfs ceph fuse.glusterfs".split()
)
FOLDERS = ("tables", "tensors", "codes", "rowsets", "dictionaries", "partials")
OWN = (
    *("lake.toml", *FOLDERS, "tables/main", "backups", "checkpoints"),
    *("catalog.sqlite", "claims.sqlite", "catalog.lock"),
)
"""What a lake holds itself, and reaches through no link."""
MAKING = r"catalog\.lock|(catalog|claims)\.sqlite(-wal|-shm|-journal)?|\.lake\.toml\.\w+\.tmp"
"""Files of a lake that is being made; its folders are there too."""
SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
MOUNTS = Path("/proc/self/mounts")


KINDS = ("sqlite", "postgres")
STORES = ("folder", "s3")


@dataclass(frozen=True, slots=True)
class CatalogPlace:
    """Where the catalog is."""

    kind: str = "sqlite"
    """``sqlite``, inside the lake, or ``postgres``."""
    database: str = ""
    """Of Postgres: words of libpq, without a secret."""
    schema: str = ""
    """Of Postgres: the lake's own."""


@dataclass(frozen=True, slots=True)
class StorePlace:
    """Where the files are that the catalog names."""

    kind: str = "folder"
    """``folder``, the lake's own, or ``s3``."""
    url: str = ""
    """Of S3: ``s3://bucket/prefix``."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The content of ``lake.toml``."""

    format: int
    lake: str
    """Generated id; copies of a lake share it."""
    created: str
    """UTC, ISO 8601."""
    actlake_version: str
    """Version of actlake that created the lake."""
    catalog: CatalogPlace = CatalogPlace()
    store: StorePlace = StorePlace()


def actlake_version() -> str:
    return version("actlake")


def new_settings(catalog: str, store: str = "folder") -> Settings:
    """Settings of a lake that is about to be made, its catalog ``sqlite``, or
    ``postgres:dbname=… host=…``, its store ``folder``, or ``s3://bucket/prefix``; InputError for
    anything else."""
    kind, _, database = (one.strip() for one in catalog.partition(":"))
    if kind not in KINDS or bool(database) != (kind == "postgres"):
        # Without the text, which may hold a password.
        raise InputError("a catalog is `sqlite`, or `postgres:dbname=… host=…`; name one of these")
    if store != "folder" and not URL.fullmatch(store):
        raise InputError(  # without the text, as above
            "a store is `folder`, or `s3://bucket/prefix` with letters, digits, `.`, `_`, `-` and "
            "`/`; name one of these"
        )
    files = StorePlace() if store == "folder" else StorePlace("s3", store.rstrip("/"))
    lake = uuid4().hex
    place = CatalogPlace(kind, database, f"lake_{lake}" if database else "")
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return Settings(FORMAT, lake, created, actlake_version(), place, files)


def check_folder(root: Path, catalog: CatalogPlace = CatalogPlace()) -> None:
    """InputError if no lake can be made at ``root``, as far as can be told without writing there.

    It holds something else, or lies on a network file system that the catalog cannot be on.
    """
    _check_place(root, catalog)
    try:
        if root.exists() and not (root.is_dir() and _holds_nothing_else(root)):
            raise InputError(
                f"{root} exists and is not empty, so no lake is made there; name another"
            )
    except OSError as error:
        raise InputError(f"no lake can be made at {root}: {error}; name another place") from error


def prepare_folder(root: Path, catalog: CatalogPlace) -> None:
    """Make ``root`` with the folders of a lake; it becomes one by ``write_settings``.

    What a killed process left of a lake that it was making is finished. InputError as
    ``check_folder``, and if it cannot be written.
    """
    check_folder(root, catalog)
    try:
        for folder in FOLDERS:
            make_folder(root / folder)
    except (DiskError, OSError) as error:
        raise InputError(f"no lake can be made at {root}: {error}; name another place") from error


def _holds_nothing_else(root: Path) -> bool:
    """Whether ``root`` holds nothing but what there is of a lake before its ``lake.toml``."""
    begun = f"{'|'.join(FOLDERS)}|{MAKING}"
    return all(re.fullmatch(begun, path.name) for path in root.iterdir()) and (
        (root / "claims.sqlite").exists() or not any(path.is_file() for path in root.rglob("*"))
    )


def write_settings(root: Path, settings: Settings) -> Digest:
    """Write ``lake.toml``, and say what it is; InputError if ``root`` has one."""
    lines = [
        f"format = {settings.format}",
        f'lake = "{settings.lake}"',
        f'created = "{settings.created}"',
        f'actlake_version = "{settings.actlake_version}"',
        "",
        "[catalog]",
        f'kind = "{settings.catalog.kind}"',
    ]
    if settings.catalog.kind == "postgres":
        lines.append(f"database = {json.dumps(settings.catalog.database, ensure_ascii=False)}")
        lines.append(f'schema = "{settings.catalog.schema}"')
    if settings.store.kind != "folder":
        lines += ["", "[store]", f'kind = "{settings.store.kind}"', f'url = "{settings.store.url}"']
    lines.append("")
    try:
        return publish(root / "lake.toml", ["\n".join(lines).encode()])
    except FileExistsError:
        raise InputError(f"{root} has just become a lake; open it, or name another") from None


def refuse_links(root: Path) -> None:
    """FormatError if a part of the lake at ``root`` is a link, through which it would write."""
    for name in OWN:
        if (root / name).is_symlink():
            raise FormatError(
                f"{root / name} is a link; a lake holds its own files, so put there what it names"
            )


def read_settings(root: Path) -> Settings:
    """The settings of the lake at ``root``; FormatError if it is none that we read."""
    path = root / "lake.toml"
    if not path.is_file():
        raise FormatError(
            f"{root} is not a lake: it has no lake.toml; make one with `actlake init`"
        )
    refuse_links(root)
    try:
        values = tomllib.loads(path.read_text("utf-8"))
        found, writer = int(values["format"]), str(values["actlake_version"])
        if found > FORMAT:  # whose other keys may be anything
            raise FormatError(
                f"{root} has format {found} and this actlake reads up to {FORMAT}; "
                f"install actlake {writer} or newer"
            )
        catalog = CatalogPlace(**values["catalog"])
        store = StorePlace(**values.get("store", {}))
        lake, created = str(values["lake"]), str(values["created"])
        settings = Settings(found, lake, created, writer, catalog, store)
    except OSError as error:
        raise FormatError(
            f"{path} cannot be read: {error.strerror}; check who may use it"
        ) from error
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise FormatError(
            f"{path} is damaged ({error}); restore it from a backup of the lake"
        ) from error
    if catalog.kind not in KINDS:
        raise FormatError(
            f"{path} names a catalog of kind {catalog.kind!r}; this actlake knows "
            f"{' and '.join(KINDS)}"
        )
    if store.kind not in STORES or (store.kind == "s3" and not URL.fullmatch(str(store.url))):
        raise FormatError(
            f"{path} names a store that this actlake does not know; it knows `folder`, and `s3` "
            "with a url such as s3://bucket/prefix"
        )
    if catalog.kind == "postgres" and not SCHEMA.fullmatch(str(catalog.schema)):
        raise FormatError(
            f"{path} is damaged (schema {catalog.schema!r}); restore it from a backup of the lake"
        )
    _check_place(root, catalog)
    return settings


def _check_place(root: Path, catalog: CatalogPlace) -> None:
    if catalog.kind == "sqlite":
        refuse_network_file_system(root)


def refuse_network_file_system(root: Path) -> None:
    """InputError if ``root`` lies on a network file system, as far as the mount table tells.

    Processes share the SQLite catalog through memory-mapped locks, which those do not offer.
    """
    if not MOUNTS.exists():
        return
    place = os.path.realpath(root)
    best, kind = "", ""
    for line in MOUNTS.read_text("utf-8", "surrogateescape").splitlines():
        _, point, file_system, *_ = line.split(" ")
        point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), point)
        if (place + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best):
            best, kind = point, file_system
    if kind in NETWORK_FILE_SYSTEMS:
        raise InputError(
            f"{root} lies on a network file system ({kind} at {best}), where a SQLite catalog "
            "loses commits; put the lake on a local disk, or use Postgres"
        )
