"""``lake.toml``: what marks a folder as a lake, and which format it has."""

import os
import re
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

from actlake.storage.durable import Digest, make_folder, publish
from actlake.storage.errors import DiskError, FormatError, InputError

__all__ = [
    "FORMAT",
    "Settings",
    "actlake_version",
    "prepare_folder",
    "read_settings",
    "write_settings",
]

FORMAT = 1
"""Number of the lake format that this version writes; it reads this one and older ones."""

NETWORK_FILE_SYSTEMS = frozenset(
    "nfs nfs4 cifs smb3 smbfs afpfs 9p fuse.sshfs lustre gpfs beegfs ceph fuse.glusterfs".split()
)
FOLDERS = ("tables", "tensors", "codes", "rowsets", "dictionaries", "partials")
MAKING = r"catalog\.lock|(catalog|claims)\.sqlite(-wal|-shm|-journal)?|\.lake\.toml\.\w+\.tmp"
"""Files of a lake that is being made; its folders are there too."""
MOUNTS = Path("/proc/self/mounts")


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


def prepare_folder(root: Path) -> None:
    """Make ``root`` with the folders of a lake; it becomes one by ``write_settings``.

    What a killed process left of a lake that it was making is finished. InputError if ``root``
    holds anything else, cannot be written, or lies on a network file system.
    """
    refuse_network_file_system(root)
    try:
        if root.exists() and not (root.is_dir() and _holds_nothing_else(root)):
            raise InputError(
                f"{root} exists and is not empty, so no lake is made there; name another"
            )
        for folder in FOLDERS:
            make_folder(root / folder)
    except (DiskError, OSError) as error:
        raise InputError(f"no lake can be made at {root}: {error}") from error


def _holds_nothing_else(root: Path) -> bool:
    """Whether ``root`` holds nothing but what there is of a lake before its ``lake.toml``."""
    begun = f"{'|'.join(FOLDERS)}|{MAKING}"
    return all(re.fullmatch(begun, path.name) for path in root.iterdir()) and (
        (root / "claims.sqlite").exists() or not any(path.is_file() for path in root.rglob("*"))
    )


def write_settings(root: Path) -> tuple[Settings, Digest]:
    """New settings in ``lake.toml``, and what that file is; InputError if ``root`` has one."""
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
    try:
        return settings, publish(root / "lake.toml", ["\n".join(lines).encode()])
    except FileExistsError:
        raise InputError(f"{root} has just become a lake; open it, or name another") from None


def read_settings(root: Path) -> Settings:
    """The settings of the lake at ``root``; FormatError if it is none that we read."""
    path = root / "lake.toml"
    if not path.is_file():
        raise FormatError(
            f"{root} is not a lake: it has no lake.toml; make one with `actlake init`"
        )
    try:
        values = tomllib.loads(path.read_text("utf-8"))
        found, writer = int(values["format"]), str(values["actlake_version"])
        if found > FORMAT:  # whose other keys may be anything
            raise FormatError(
                f"{root} has format {found} and this actlake reads up to {FORMAT}; "
                f"install actlake {writer} or newer"
            )
        settings = Settings(found, str(values["lake"]), str(values["created"]), writer)
        kind = values["catalog"]["kind"]
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{path} is damaged ({error}); restore it from a backup of the lake"
        ) from error
    if kind != "sqlite":
        raise FormatError(
            f"{path} names a catalog of kind {kind!r}; this actlake knows only sqlite"
        )
    refuse_network_file_system(root)
    return settings


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
