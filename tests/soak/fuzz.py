"""Documents in files of any format, whole or damaged: read exactly as other readers do, or refused.

And a lake that is written, crashed, resumed, compacted and emptied in any order, held against
plain Python.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from actlake.flows.ingest import ingest
from actlake.flows.source_files import FORMATS, Format
from actlake.flows.sources import Source, read
from actlake.storage.corpora import Document, examine_documents
from actlake.storage.errors import LakeError
from actlake.storage.lake import Lake
from tests.fuzz.corpus_files import Planted, plant, read_independently, same_label
from tests.fuzz.lake_machine import run_machine
from tests.soak.outcome import Outcome

FORMATS_OF: dict[str, Format] = {
    **dict(zip(FORMATS, FORMATS, strict=True)),
    "feather": "arrow",
    "txt": "text",
}
READINGS, INGESTS, ORDERS, STEPS = 20_000, 300, 100, 50


def documents(planted: Planted) -> list[Document] | LakeError:
    """What actlake reads, or its refusal; anything else that is raised is a bug."""
    try:
        found = list(read(_source(planted)))
        examine_documents(found, source="fuzz")
    except LakeError as error:
        return error
    return found


def fault(planted: Planted, found: list[Document] | LakeError) -> str | None:
    """What is wrong with how a file was read, or None."""
    if isinstance(found, LakeError):
        message = str(found)
        if not planted.damaged:
            return f"a whole {planted.format} was refused: {message}"
        if not message or "\n" in message.strip():
            return f"the refusal is no line: {message!r}"
        return None
    try:
        theirs = read_independently(planted)
    except Exception as error:  # noqa: BLE001 - whatever a library raises, ours should have refused
        return f"what {planted.format} readers refuse was read: {error!r}"
    if [one.text for one in found] != [text for text, _ in theirs]:
        return f"other texts: {found} and {theirs}"
    for one, (_, labels) in zip(found, theirs, strict=True):
        if not all(same_label(one.labels.get(name), value) for name, value in labels.items()):
            return f"other labels: {one.labels} and {labels}"
    return None


def readings(
    folder: Path, random: np.random.Generator, attempts: int
) -> tuple[Counter[str], list[str]]:
    """How many files were read, refused or faulty, and the faults with their files."""
    counts: Counter[str] = Counter()
    faults = []
    for number in range(attempts):
        planted = plant(folder, random)
        try:
            found = documents(planted)
            wrong = fault(planted, found)
            counts["refused" if isinstance(found, LakeError) else "read"] += 1
        except Exception as error:  # noqa: BLE001 - a traceback is a fault, and the next is tried
            wrong = f"raised {error!r}"
        if wrong is not None:
            kept = planted.path.rename(folder / f"fault-{number}-{planted.path.name}")
            faults.append(f"{kept}: {wrong[:500]}")
    return counts, faults


def ingests(
    folder: Path, random: np.random.Generator, attempts: int
) -> tuple[Counter[str], list[str]]:
    """As ``readings``, into a lake: each corpus is there whole, or no row of it is."""
    lake = Lake.create(folder / "lake")
    counts: Counter[str] = Counter()
    faults = []
    for number in range(attempts):
        planted = plant(folder, random)
        corpus = f"c{number}"
        try:
            ingest(lake, corpus=corpus, source=_source(planted))
            counts["read"] += 1
        except LakeError:
            counts["refused"] += 1
        expected = documents(planted)
        texts = lake.sql(
            "SELECT source_id, text FROM documents WHERE corpus = $corpus ORDER BY document",
            corpus=corpus,
        ).rows()
        listed = lake.sql("SELECT documents FROM corpora WHERE corpus = $corpus", corpus=corpus)
        labels = lake.sql("SELECT count(*) FROM labels WHERE corpus = $corpus", corpus=corpus)
        if isinstance(expected, LakeError):
            right = texts == [] and listed.rows() == [] and labels.rows() == [(0,)]
        else:
            values = sum(value is not None for one in expected for value in one.labels.values())
            right = texts == [(one.source_id, one.text) for one in expected]
            right &= listed.rows() == [(len(expected),)] and labels.rows() == [(values,)]
        if not right:
            kept = planted.path.rename(folder / f"ingest-{number}-{planted.path.name}")
            faults.append(f"{kept}: {expected!r} is stored as {texts!r}"[:500])
    faults += [str(one) for one in lake.verify()]
    lake.close()
    return counts, faults


def _source(planted: Planted) -> Source:
    return Source(path=str(planted.path), format=FORMATS_OF[planted.format])


def soak(folder: Path, random: np.random.Generator) -> Iterator[Outcome]:
    for name, attack, attempts in (
        ("corpus files, whole and damaged, read", readings, READINGS),
        ("corpus files, whole and damaged, ingested", ingests, INGESTS),
    ):
        counts, faults = attack(folder, random, attempts)
        seen = f"{counts['read']:,} read as other readers do, {counts['refused']:,} refused"
        for one in faults:
            print(one, flush=True)
        yield Outcome(name, attempts, attempts - len(faults), len(faults), seen=seen)
    wrong = orders(random, ORDERS)
    for one in wrong:
        print(one, flush=True)
    yield Outcome(
        f"orders of {STEPS} steps, crashes among them, against plain Python",
        ORDERS,
        ORDERS - len(wrong),
        len(wrong),
    )


def orders(random: np.random.Generator, count: int) -> list[str]:
    """What was wrong in runs of the state machine over a lake, ten orders at a time."""
    wrong = []
    for _ in range(count // 10):
        seed = int(random.integers(1 << 31))
        try:
            run_machine(examples=10, steps=STEPS, seed=seed)
        except Exception as error:  # noqa: BLE001 - whatever it is, the rest is tried
            wrong.append(f"seed {seed}: {error!r}"[:500])
    return wrong
