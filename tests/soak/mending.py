"""Damage to a few files at once, and ``repair``: exactly those are made again, to the byte."""

import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import numpy as np

from actlake.flows.repair import repair
from actlake.storage import Lake
from actlake.storage.committed import committed_files
from actlake.storage.durable import replace_file
from tests.soak.damages import DAMAGES
from tests.soak.outcome import Outcome
from tests.soak.subject import SHARDS, kind_of

MENDED = (*SHARDS, "postings", "partial chunks", "zarr.json")
"""Kinds of files that a lake can tell again."""
MOST = 5
"""Files that are damaged at once."""


def attack_and_repair(root: Path, attempts: int, random: np.random.Generator) -> Outcome:
    """Damage files of a lake whose model is there, and let ``repair`` put them back."""
    started, what = time.monotonic(), Counter[str]()
    wrong: list[str] = []
    with closing(Lake.open(root)) as lake:
        connection, recorded = lake.reading.connection(), lake.reading.recorded()
        every = [*committed_files(connection, lake.store, recorded)]
        files = [
            one for one in every if kind_of(one) in MENDED and (root / one.path).stat().st_size
        ]
        for _ in range(attempts):
            before = _contents(root, [one.path for one in every])
            chosen = random.choice(len(files), int(random.integers(1, MOST + 1)), replace=False)
            damaged = {files[int(one)].path for one in chosen}
            for path in damaged:
                other = root / files[int(random.integers(len(files)))].path
                after = DAMAGES[str(random.choice([*DAMAGES]))][0](root / path, other, random)
                if after is None or after == before[path][1]:
                    (root / path).unlink()
                else:
                    replace_file(root / path, after)
            what.update(kind_of(files[int(one)]) for one in chosen)
            done = {one.path for one in repair(lake) if one.done}
            now = _contents(root, before)
            wrong += [f"not put back: {path}" for path in damaged - done]
            wrong += [f"put back, and was whole: {path}" for path in done - damaged]
            wrong += [f"other bytes: {path}" for path in before if now[path][1] != before[path][1]]
            new = {path for path in before if now[path][0] != before[path][0]}
            wrong += [f"written again: {path}" for path in new - damaged]
            wrong += [str(fault) for fault in lake.verify()]
            if wrong:
                break
    return Outcome(
        attack=f"up to {MOST} files damaged, and repaired",
        attempts=attempts,
        survived=0 if wrong else attempts,
        lost=len(wrong),
        detected=None,
        seen=f"{', '.join(f'{name} {count:,}' for name, count in what.most_common())} put back to "
        f"the byte, no other file written; {time.monotonic() - started:,.0f} s"
        + "".join(f"; {one}" for one in wrong[:3]),
    )


def _contents(root: Path, paths: Iterable[str]) -> dict[str, tuple[int, bytes]]:
    """When each file was written, and what is in it."""
    return {path: ((root / path).stat().st_mtime_ns, (root / path).read_bytes()) for path in paths}
