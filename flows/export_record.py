"""What an export says of itself, and the pin that keeps its snapshot for as long as it is there.

Only the machine that made an export can see whether it is: of a lake that several machines write
to, others leave its pin alone.
"""

import json
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from actlake.storage.claims import Claims
from actlake.storage.errors import BusyError
from actlake.storage.lake import Lake

__all__ = [
    "RECORD",
    "claim_on",
    "exports_of",
    "gone_pins",
    "read_record",
    "reason",
    "release_pins",
]

RECORD = "export.json"
_REASON = re.compile(r"snapshot (\d+) is exported to (?:([^/]+):)?(/.+)", re.DOTALL)


def read_record(target: Path) -> dict[str, Any]:
    """The record of the export in ``target``; empty if there is none, or none that can be read."""
    try:
        record = json.loads((target / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    ours = isinstance(record, dict) and {"actlake_export", "arguments", "files"} <= record.keys()
    return record if ours else {}


def reason(snapshot: int, target: Path) -> str:
    """Why the snapshot of an export is pinned."""
    return f"snapshot {snapshot} is exported to {socket.gethostname()}:{target}"


def claim_on(target: Path) -> str:
    """Key of the claim that is held while an export is written to ``target``."""
    return f"export:{socket.gethostname()}:{target}"


def release_pins(lake: Lake) -> None:
    """Let go of snapshots that are pinned for exports that are not there any more.

    An export that is being written keeps its pin. One whose record cannot be read is there.
    """
    claims = Claims(lake.database)
    for why, target in gone_pins(lake).items():
        with suppress(BusyError), claims.held(claim_on(target)):
            if why in gone_pins(lake, [why]):  # still: one may just have been finished
                claims.unpin(why)


def gone_pins(lake: Lake, reasons: Iterable[str] | None = None) -> dict[str, Path]:
    """Which of ``reasons``, by default of all pins, are exports that are not there any more, as far
    as this machine can tell; and the folder of each."""
    if reasons is None:
        reasons = [why for _, why in Claims(lake.database).pins()]
    alone = lake.settings.catalog.kind == "sqlite"  # whatever the machine was called before
    return {
        why: target
        for why, (snapshot, machine, target) in _exports(reasons).items()
        if (alone or machine == socket.gethostname()) and _gone(lake, snapshot, target)
    }


def exports_of(reasons: Iterable[str]) -> list[str]:
    """The folders of exports that any of ``reasons`` pins a snapshot for, ``machine:folder``."""
    return sorted({f"{machine}:{target}" for _, machine, target in _exports(reasons).values()})


def _exports(reasons: Iterable[str]) -> dict[str, tuple[int, str, Path]]:
    """Snapshot, machine and folder by reason, of those that are exports."""
    found = {why: _REASON.fullmatch(why) for why in reasons}
    return {
        why: (int(one[1]), one[2] or socket.gethostname(), Path(one[3]))
        for why, one in found.items()
        if one
    }


def _gone(lake: Lake, snapshot: int, target: Path) -> bool:
    """Whether ``target`` is not there, or holds an export of something else."""
    if not target.exists():
        return True
    arguments = read_record(target).get("arguments")
    return arguments is not None and (
        (arguments["lake"], arguments["snapshot"]) != (lake.settings.lake, snapshot)
    )
