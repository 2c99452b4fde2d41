"""Whether backups are still what was backed up; a record holds a hash of itself."""

import json
from collections.abc import Iterator
from pathlib import Path

from actlake.storage.durable import Digest, digest, sealed

__all__ = ["backup_faults"]


def backup_faults(root: Path) -> Iterator[tuple[str, str]]:
    """Path in the lake, and what is wrong, of every file of a backup that changed."""
    for record in sorted((root / "backups").glob("[0-9]*/backup.json")):
        shown = record.relative_to(root).as_posix()
        try:
            said = json.loads(record.read_text("utf-8"))
            files = {name: Digest(**facts) for name, facts in said["files"].items()}
            if said != sealed(said) or str(said["snapshot"]) != record.parent.name:
                yield shown, "its content changed"
        except (OSError, KeyError, TypeError, ValueError) as error:
            yield shown, f"damaged ({' '.join(str(error).split())})"
            continue
        for name, expected in files.items():
            path = record.with_name(Path(name).name)  # of a damaged record, nothing outside
            if not path.is_file():
                yield path.relative_to(root).as_posix(), "missing"
            elif digest(path) != expected:
                yield path.relative_to(root).as_posix(), "its content changed"
