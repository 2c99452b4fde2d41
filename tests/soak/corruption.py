"""Bits that flip, files that shrink, grow, vanish, trade places or come back from the past."""

import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np

from actlake.storage import Lake
from actlake.storage.committed import CommittedFile
from actlake.storage.durable import replace_file
from actlake.storage.errors import CorruptError, LakeError
from actlake.storage.verify import file_faults, verify_unopened
from tests.soak.outcome import Outcome
from tests.soak.subject import SHARDS, Subject, build, examined, read, renewed

WHOLE_EVERY = 1
"""Attempts of which one is found by verifying the whole lake, and the others by the file alone."""

Damage = Callable[[Path, Path, np.random.Generator], bytes | None]
"""What a file becomes, given another of its kind; None if it vanishes."""


def flip(file: Path, _other: Path, random: np.random.Generator) -> bytes:
    content = bytearray(file.read_bytes())
    bit = int(random.integers(len(content) * 8))
    content[bit // 8] ^= 1 << bit % 8
    return bytes(content)


def truncate(file: Path, _other: Path, random: np.random.Generator) -> bytes:
    content = file.read_bytes()
    return content[: int(random.integers(len(content)))]


def extend(file: Path, _other: Path, random: np.random.Generator) -> bytes:
    return file.read_bytes() + random.bytes(int(random.integers(1, 64)))


def remove(_file: Path, _other: Path, _random: np.random.Generator) -> None:
    return None


def replay(_file: Path, other: Path, _random: np.random.Generator) -> bytes:
    """The content of another whole file of the kind: an older one, or one that was misplaced."""
    return other.read_bytes()


DAMAGES: dict[str, tuple[Damage, float]] = {
    "flipped bit": (flip, 0.7),
    "truncated": (truncate, 0.08),
    "extended": (extend, 0.04),
    "removed": (remove, 0.04),
    "replaced by another whole file of its kind": (replay, 0.14),
}
"""What is done to a file, and how often."""


@dataclass
class Seen:
    """What came of the attempts on files of one kind."""

    attempts: int = 0
    found: int = 0
    refused: int = 0
    wrong: int = 0

    def outcome(self, kind: str, what: Counter[str], seconds: float) -> Outcome:
        told = ", ".join(f"{name} {count:,}" for name, count in what.most_common())
        return Outcome(
            attack=f"damage to {kind}",
            attempts=self.attempts,
            survived=self.attempts - self.wrong,
            lost=self.wrong,
            detected=self.found,
            seen=f"{told}; readers refused {self.refused:,}, were right "
            f"{self.attempts - self.refused - self.wrong:,}; {seconds:,.0f} s",
        )


def attack_files(
    subject: Subject,
    kind: str,
    attempts: int,
    random: np.random.Generator,
    *,
    whole_every: int = WHOLE_EVERY,
) -> Outcome:
    """Damage files of a kind one at a time, look whether it is found, and put them back."""
    files, seen, what = subject.kinds[kind], Seen(), Counter[str]()
    started = time.monotonic()
    names, shares = [*DAMAGES], [share for _, share in DAMAGES.values()]
    with closing(Lake.open(subject.root, verify="always")) as lake:
        for attempt in range(attempts):
            file, other = (files[int(one)] for one in random.integers(len(files), size=2))
            name = str(random.choice(names, p=shares))
            path = subject.root / file.path
            after = DAMAGES[name][0](path, subject.root / other.path, random)
            if after == path.read_bytes():
                after, name = flip(path, path, random), "flipped bit"
            what[name] += 1
            whole = attempt % whole_every == whole_every - 1
            found = partial(is_found, lake, file, whole=whole)
            attempt_on(subject, lake, kind, seen, {path: after}, found)
    return seen.outcome(kind, what, time.monotonic() - started)


def attempt_on(
    subject: Subject,
    lake: Lake,
    kind: str,
    seen: Seen,
    damage: Mapping[Path, bytes | None],
    found: Callable[[], bool],
) -> None:
    """Damage files, look whether it is found and what readers return, and put them back."""
    before = {path: path.read_bytes() for path in damage}
    for path, content in damage.items():
        replace_file(path, content) if content is not None else path.unlink()
    try:
        seen.attempts += 1
        seen.found += found()
        try:
            seen.wrong += read(lake, kind) != subject.truth[kind]
        except CorruptError:
            seen.refused += 1
    finally:
        for path, content in before.items():
            replace_file(path, content)


def both_are_found(lake: Lake, named: Set[str]) -> bool:
    """Whether verify names these files and no other."""
    return {one.path for one in lake.verify()} == named


def is_found(lake: Lake, file: CommittedFile, *, whole: bool) -> bool:
    """Whether verify names the file, says whose it is and which rows it holds, and nothing else."""
    if not whole:
        found = [*file_faults(lake.store, file, lake._claims, int, str)]
    elif file.path == "lake.toml" or file.array in ("migrations",):
        found = [*verify_unopened(lake.root)]
    else:
        found = [*lake.verify()]
    return [(one.path, one.owner, one.row_start, one.row_stop) for one in found] == [
        (file.path, file.owner, file.row_start, file.row_stop)
    ]


def attack_generations(
    subject: Subject, stale: Mapping[str, bytes], attempts: int, random: np.random.Generator
) -> Outcome:
    """Put a shard back as it was before a document was withdrawn from it."""
    seen, started = Seen(), time.monotonic()
    files = [(kind, file) for kind in SHARDS for file in subject.kinds[kind] if file.path in stale]
    with closing(Lake.open(subject.root, verify="always")) as lake:
        for number in random.choice(len(files), attempts, replace=attempts > len(files)):
            kind, file = files[int(number)]
            damage = {subject.root / file.path: stale[file.path]}
            found = partial(is_found, lake, file, whole=True)
            attempt_on(subject, lake, kind, seen, damage, found)
    what = Counter({"replayed": seen.attempts})
    return seen.outcome("shards that have a newer generation", what, time.monotonic() - started)


def attack_pairs(subject: Subject, attempts: int, random: np.random.Generator) -> Outcome:
    """Swap two whole shards of one array, or two files of postings."""
    seen, started = Seen(), time.monotonic()
    arrays: dict[tuple[str, str], list[CommittedFile]] = {}
    for kind in (*SHARDS, "postings"):
        for file in subject.kinds[kind]:
            arrays.setdefault((kind, str(Path(file.path).parent)), []).append(file)
    pairs = [
        (kind, one, other)
        for (kind, _), files in arrays.items()
        for one, other in pairwise(files)
        if (subject.root / one.path).read_bytes() != (subject.root / other.path).read_bytes()
    ]
    with closing(Lake.open(subject.root, verify="always")) as lake:
        for _ in range(attempts):
            kind, *two = pairs[int(random.integers(len(pairs)))]
            paths = [subject.root / file.path for file in two]
            damage = dict(zip(paths, [path.read_bytes() for path in reversed(paths)], strict=True))
            named = {file.path for file in two}
            attempt_on(subject, lake, kind, seen, damage, partial(both_are_found, lake, named))
    return seen.outcome("two chunks", Counter({"swapped": attempts}), time.monotonic() - started)


def attack_database(
    subject: Subject, name: str, attempts: int, random: np.random.Generator
) -> Outcome:
    """Flip bits of a database, of which not all can be found; what readers return must stay."""
    started = time.monotonic()
    root = Path(shutil.copytree(subject.root, subject.root.with_name(f"{name}-lake")))
    _in_one_file(root / name)
    before = (root / name).read_bytes()
    found = refused = harmless = wrong = 0
    for _ in range(attempts):
        replace_file(root / name, flip(root / name, root, random))
        try:
            with closing(Lake.open(root)) as lake:
                faults = [*lake.verify()]
                found += bool(faults)
                if not faults:
                    other = [
                        kind for kind in subject.truth if read(lake, kind) != subject.truth[kind]
                    ]
                    harmless, wrong = harmless + (not other), wrong + bool(other)
        except (LakeError, duckdb.Error):
            refused += 1
        finally:
            for log in root.glob(f"{name}-*"):
                log.unlink()
            replace_file(root / name, before)
    shutil.rmtree(root)
    return Outcome(
        attack=f"flipped bit of {name}",
        attempts=attempts,
        survived=attempts - wrong,
        lost=wrong,
        seen=f"found {found:,}, refused to open {refused:,}, not found and without effect "
        f"{harmless:,}; {time.monotonic() - started:,.0f} s",
    )


def _in_one_file(database: Path) -> None:
    """Take the log of a database into it; in another process, as ``sqlite_copy`` says."""
    code = (
        "import sqlite3, sys; "
        "sqlite3.connect(sys.argv[1]).execute('PRAGMA wal_checkpoint(TRUNCATE)')"
    )
    subprocess.run([sys.executable, "-c", code, str(database)], check=True)


ATTEMPTS = {
    "tensor chunks": 250, "codes chunks": 250, "rowset chunks": 150, "postings": 100,
    "tables": 100, "zarr.json": 100, "partial chunks": 50, "dictionaries": 40, "lake.toml": 20,
}  # fmt: skip


def soak(folder: Path, random: np.random.Generator) -> Iterator[Outcome]:
    subject = examined(build(folder))
    assert subject.kinds.keys() == ATTEMPTS.keys()
    for kind, attempts in ATTEMPTS.items():
        yield attack_files(subject, kind, attempts, random)
    yield attack_pairs(subject, 100, random)
    yield attack_generations(*renewed(subject.root), 60, random)
    for name in ("catalog.sqlite", "claims.sqlite"):
        yield attack_database(subject, name, 60, random)
    assert [*Lake.open(subject.root).verify()] == []
