"""What an export says of itself, and the pin that keeps its snapshot for as long as it is there."""

import json
import re
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
_REASON = re.compile(r"snapshot (\d+) is exported to (.+)", re.DOTALL)


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
    return f"snapshot {snapshot} is exported to {target}"


def claim_on(target: Path) -> str:
    """Key of the claim that is held while an export is written to ``target``."""
    return f"export:{target}"


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
    as can be told; and the folder of each."""
    if reasons is None:
        reasons = [why for _, why in Claims(lake.database).pins()]
    return {
        why: target
        for why, (snapshot, target) in _exports(reasons).items()
        if _gone(lake, snapshot, target)
    }


def exports_of(reasons: Iterable[str]) -> list[Path]:
    """The folders of exports that any of ``reasons`` pins a snapshot for."""
    return sorted({target for _, target in _exports(reasons).values()})


def _exports(reasons: Iterable[str]) -> dict[str, tuple[int, Path]]:
    """Snapshot and folder by reason, of those that are exports."""
    found = {why: _REASON.fullmatch(why) for why in reasons}
    return {why: (int(one[1]), Path(one[2])) for why, one in found.items() if one}


def _gone(lake: Lake, snapshot: int, target: Path) -> bool:
    """Whether ``target`` is not there, or holds an export of something else."""
    if not target.exists():
        return True
    arguments = read_record(target).get("arguments")
    return arguments is not None and (
        (arguments["lake"], arguments["snapshot"]) != (lake.settings.lake, snapshot)
    )
