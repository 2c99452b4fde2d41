"""Bits that flip, files that shrink, grow, vanish, trade places or come back from the past."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np

from actlake.storage import Lake
from actlake.storage.committed import CommittedFile
from actlake.storage.durable import replace_file
from actlake.storage.errors import LakeError
from actlake.storage.reading import Mode
from actlake.storage.sqlite_database import SqliteDatabase
from actlake.storage.verify import file_faults, verify_unopened
from tests.flows.scenes import Stage
from tests.soak.damages import DAMAGES, flip
from tests.soak.database_damage import attack_database
from tests.soak.mending import attack_and_repair
from tests.soak.outcome import Outcome
from tests.soak.subject import SHARDS, Subject, build, examined, read, renewed

WHOLE_EVERY = 1
"""Attempts of which one is found by verifying the whole lake, and the others by the file alone."""

FRESH_EVERY = 4
"""Attempts of which the first is also read by lakes that are opened for it, in the other modes."""
RIGHT, REFUSED, WRONG = "right", "refused", "wrong"


@dataclass
class Seen:
    """What came of the attempts on files of one kind."""

    attempts: int = 0
    found: int = 0
    refused: int = 0
    wrong: int = 0
    raw: list[str] = field(default_factory=list)
    """What a reader told that is no refusal."""

    def outcome(self, kind: str, what: Counter[str], seconds: float) -> Outcome:
        told = ", ".join(f"{name} {count:,}" for name, count in what.most_common())
        return Outcome(
            attack=f"damage to {kind}",
            attempts=self.attempts,
            survived=self.attempts - self.wrong - len(self.raw),
            lost=self.wrong,
            detected=self.found,
            seen=f"{told}; readers refused {self.refused:,}, were right "
            f"{self.attempts - self.refused - self.wrong:,}; {seconds:,.0f} s"
            + "".join(f"; {one}" for one in self.raw[:3]),
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
        held = answer(lambda: read(lake, kind), subject.truth[kind])
        first = blind = RIGHT
        if seen.attempts % FRESH_EVERY == 1:
            first = answer(lambda: fresh(subject.root, kind, "first-read"), subject.truth[kind])
            blind = answer(lambda: fresh(subject.root, kind, "never"), subject.truth[kind])
        seen.refused += held == REFUSED
        # SQL is held against files by ``always`` alone.
        seen.wrong += held == WRONG or (first == WRONG and kind != "tables")
        seen.raw += [one for one in (held, first, blind) if one not in (RIGHT, REFUSED, WRONG)]
    finally:
        for path, content in before.items():
            replace_file(path, content)


def answer(reader: Callable[[], list[bytes]], truth: list[bytes]) -> str:
    """What comes of reading a damaged lake; what is no refusal, as it was told."""
    try:
        return RIGHT if reader() == truth else WRONG
    except LakeError as error:
        return REFUSED if "\n" not in str(error) else f"told in lines: {error!r}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        return f"told as {error!r}"


def fresh(root: Path, kind: str, mode: Mode) -> list[bytes]:
    """What a lake that is opened now returns."""
    with closing(Lake.open(root, verify=mode)) as lake:
        return read(lake, kind)


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


def attack_pairs(
    subject: Subject, kinds: Sequence[str], attempts: int, random: np.random.Generator
) -> Outcome:
    """Swap two whole files of a kind, of the same array or table where it has such."""
    seen, what, started = Seen(), Counter[str](), time.monotonic()
    with closing(Lake.open(subject.root, verify="always")) as lake:
        for attempt in range(attempts):
            kind = kinds[attempt % len(kinds)]
            pairs = list(_pairs(subject, kind))
            paths = pairs[int(random.integers(len(pairs)))]
            contents = [(subject.root / path).read_bytes() for path in reversed(paths)]
            damage = dict(zip([subject.root / path for path in paths], contents, strict=True))
            what[f"swapped {kind}"] += 1
            attempt_on(subject, lake, kind, seen, damage, partial(both_are_found, lake, {*paths}))
    return seen.outcome("two whole files", what, time.monotonic() - started)


def _pairs(subject: Subject, kind: str) -> Iterator[tuple[str, str]]:
    """Two files each that could stand in each other's place, and differ."""
    alike: dict[str, list[str]] = {}
    for file in subject.kinds[kind]:
        alike.setdefault(file.array, []).append(file.path)
    for files in alike.values():
        for pair in combinations(files, 2):
            one, other = ((subject.root / path).read_bytes() for path in pair)
            if one != other:
                yield pair


ATTEMPTS = {
    "tensor chunks": 250, "codes chunks": 250, "rowset chunks": 150, "postings": 100,
    "tables": 100, "zarr.json": 100, "partial chunks": 50, "dictionaries": 40, "lake.toml": 20,
}  # fmt: skip
PAIRED = ("codes chunks", "postings", "tables", "dictionaries", "tensor chunks", "rowset chunks",
    "zarr.json", "partial chunks")  # fmt: skip
"""Kinds whose files trade places, one after the other."""


def soak(folder: Path, random: np.random.Generator) -> Iterator[Outcome]:
    subject = examined(build(folder))
    assert subject.kinds.keys() == ATTEMPTS.keys()
    for kind, attempts in ATTEMPTS.items():
        yield attack_files(subject, kind, attempts, random)
    yield attack_pairs(subject, PAIRED, 150, random)
    yield attack_generations(*renewed(subject.root), 60, random)
    for name in SqliteDatabase.names:
        yield attack_database(subject, name, 60, random)
    yield attack_and_repair(Stage(folder).start("export", folder / "mended"), 20, random)
    assert [*Lake.open(subject.root).verify()] == []
