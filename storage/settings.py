"""``lake.toml``: what marks a folder as a lake, and which format it has."""

import os
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

from actlake.storage.durable import publish
from actlake.storage.errors import FormatError, InputError

__all__ = ["FORMAT", "Settings", "actlake_version", "create_settings", "read_settings"]

FORMAT = 1
"""Number of the lake format that this version writes; it reads this one and older ones."""

NETWORK_FILE_SYSTEMS = frozenset(
    "nfs nfs4 cifs smb3 smbfs afpfs 9p fuse.sshfs lustre gpfs beegfs ceph fuse.glusterfs".split()
)
FOLDERS = ("tables", "tensors", "codes", "rowsets", "dictionaries", "partials")


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


def actlake_version() -> str:
    return version("actlake")


def create_settings(root: Path) -> Settings:
    """Make ``root`` an empty lake: its folders and, last, ``lake.toml``.

    InputError if ``root`` holds anything, or lies on a network file system: the SQLite catalog
    is shared by processes through memory-mapped locks, which those do not offer.
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"{root} exists and is not empty, so no lake is made there; name another")
    refuse_network_file_system(root)
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    settings = Settings(FORMAT, uuid4().hex, created, actlake_version())
    lines = (
        f"format = {settings.format}",
        f'lake = "{settings.lake}"',
        f'created = "{settings.created}"',
        f'actlake_version = "{settings.actlake_version}"',
        "",
        "[catalog]",
        'kind = "sqlite"',
        "",
    )
    publish(root / "lake.toml", ["\n".join(lines).encode()])
    return settings


def read_settings(root: Path) -> Settings:
    """The settings of the lake at ``root``; FormatError if it is none that we read."""
    path = root / "lake.toml"
    if not path.is_file():
        raise FormatError(f"{root} is not a lake: it has no lake.toml; make one with `actlake init`")
    try:
        values = tomllib.loads(path.read_text("utf-8"))
        settings = Settings(
            int(values["format"]),
            str(values["lake"]),
            str(values["created"]),
            str(values["actlake_version"]),
        )
        kind = values["catalog"]["kind"]
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{path} is damaged ({error}); restore it from a backup of the lake"
        ) from error
    if settings.format > FORMAT:
        raise FormatError(
            f"{root} has format {settings.format} and this actlake reads up to {FORMAT}; "
            f"install actlake {settings.actlake_version} or newer"
        )
    if kind != "sqlite":
        raise FormatError(f"{path} names a catalog of kind {kind!r}; this actlake knows only sqlite")
    return settings


def refuse_network_file_system(root: Path) -> None:
    """InputError if ``root`` lies on a network file system, as far as the mount table tells."""
    mounts = Path("/proc/self/mounts")
    if not mounts.exists():
        return
    place = os.path.realpath(root)
    best, kind = "", ""
    for line in mounts.read_text("utf-8", "surrogateescape").splitlines():
        _, point, file_system, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if (place + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best):
            best, kind = point, file_system
    if kind in NETWORK_FILE_SYSTEMS:
        raise InputError(
            f"{root} lies on a network file system ({kind} at {best}), where a SQLite catalog "
            "loses commits; put the lake on a local disk, or use Postgres"
        )
