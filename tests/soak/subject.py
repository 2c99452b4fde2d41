"""A lake with everything in it, what it says, and its files by kind: what is damaged."""

import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from actlake.flows.maintain import maintain
from actlake.flows.summarize import summarize
from actlake.flows.withdraw import withdraw
from actlake.storage import Lake
from actlake.storage.committed import CommittedFile, committed_files
from actlake.storage.fields import TABLES
from actlake.storage.partials import read_partial
from tests.flows.small_lake import (
    CORPUS,
    FEATURES,
    IDENTITY,
    MASK,
    ROWSET,
    TENSOR,
    TOPK,
    build_small_lake,
    codes_name,
)

CODES = codes_name(TOPK)
SHARDS = ("tensor chunks", "codes chunks", "rowset chunks")
KINDS = (*SHARDS, "postings", "tables", "zarr.json", "partial chunks", "dictionaries", "lake.toml")
"""Of files, by what is read of them."""


@dataclass(frozen=True)
class Subject:
    """A lake with everything in it, what it says, and the files that may be damaged."""

    root: Path
    kinds: dict[str, list[CommittedFile]]
    truth: dict[str, list[bytes]]


def build(folder: Path) -> Path:
    """A small lake with partials, files that only older snapshots name, and a backup."""
    with closing(build_small_lake(folder / "lake")) as lake:
        summarize(lake, codes=CODES, mask=MASK)  # in the place of another one
        maintain(lake, verify_parts=0, merge=False, expire_days=None, grace_hours=None, backups=1)
    return folder / "lake"


def renewed(root: Path) -> tuple[Subject, dict[str, bytes]]:
    """A copy of the lake with a document withdrawn, and what shards were that are new since."""
    path = Path(shutil.copytree(root, root.with_name("renewed-lake")))
    with closing(Lake.open(path)) as lake:
        before = {name: (path / name.path).read_bytes() for name in _shards(lake)}
        withdraw(lake, corpus=CORPUS, documents=[1], reason="test")
        summarize(lake, codes=CODES, mask=MASK)
        old = {_place(file): content for file, content in before.items()}
        stale = {file.path: old[_place(file)] for file in _shards(lake)}
        changed = {name for name, was in stale.items() if (path / name).read_bytes() != was}
    return examined(path), {name: stale[name] for name in changed}


def _shards(lake: Lake) -> list[CommittedFile]:
    files = committed_files(lake.reading.connection(), lake.store, lake.reading.recorded())
    return [file for file in files if kind_of(file) in SHARDS]


def _place(file: CommittedFile) -> tuple[str, str, str, int | None]:
    return file.kind, file.owner, file.array, file.shard


def examined(root: Path) -> Subject:
    with closing(Lake.open(root, verify="always")) as lake:
        kinds: dict[str, list[CommittedFile]] = {}
        for file in committed_files(lake.reading.connection(), lake.store, lake.reading.recorded()):
            if (root / file.path).stat().st_size:
                kinds.setdefault(kind_of(file), []).append(file)
        return Subject(root, kinds, {kind: read(lake, kind) for kind in kinds})


def kind_of(file: CommittedFile) -> str:
    if file.path.endswith(("zarr.json", "lake.toml")):
        return Path(file.path).name
    if file.kind == "table":
        return "postings" if file.array == "postings" else "tables"
    return "dictionaries" if file.kind == "dictionary" else f"{file.kind} chunks"


def read(lake: Lake, kind: str) -> list[bytes]:
    """What readers make of the files of a kind; LakeError if one of them refuses."""
    if kind == "tensor chunks":
        tensor = lake.tensor(TENSOR)
        every = np.arange(len(tensor))[::-1]
        batches = np.concatenate(list(tensor.batches(64, seed=1)))
        return [one.tobytes() for one in (tensor[:], tensor.rows(every), batches)]
    if kind == "codes chunks":
        blocks = [lake.codes(codes_name(name))[:] for name in (TOPK, IDENTITY)]
        scanned = lake.codes(CODES).scan().collect()
        return [
            part.tobytes() for one in blocks for part in (one.indptr, one.indices, one.values)
        ] + [scanned.to_numpy().tobytes()]
    if kind == "postings":
        codes = lake.codes(CODES)
        return [codes.postings(feature).to_numpy().tobytes() for feature in range(FEATURES)]
    if kind == "rowset chunks":
        rowset = lake.rowset(ROWSET)
        names = ("document", "token_id", "char_start", "char_stop", "is_special")
        contexts = lake.contexts(CODES, 0, mask=MASK)
        return [*(rowset.column(name).tobytes() for name in names), repr(contexts).encode()]
    if kind == "dictionaries":
        found = [lake.dictionary(name) for name in (TOPK, IDENTITY)]
        return [
            part
            for one in found
            for part in (
                repr((one.config, sorted(one.arrays))).encode(),
                *(one.arrays[name].tobytes() for name in sorted(one.arrays)),
            )
        ]
    if kind == "zarr.json":
        return [repr(sorted(lake.tensor(TENSOR).attributes().items())).encode()]
    if kind == "partial chunks":
        query = "SELECT DISTINCT code_version FROM partials ORDER BY ALL"
        return [
            array.tobytes()
            for (version,) in lake.sql(query).rows()
            for _, place in sorted(lake.partials(CODES, MASK, str(version)).items())
            for _, array in sorted(read_partial(lake.store, *place).items())
        ]
    if kind == "tables":
        names = ("documents", "tokens", "feature_statistics", "feature_examples", "labels")
        return [rows(lake, name) for name in names]
    return []


def rows(lake: Lake, table: str) -> bytes:
    """All rows of a table, in no order of theirs."""
    return repr(sorted(map(str, lake.table(table).collect().rows()))).encode()


def answers(lake: Lake) -> dict[str, list[bytes]]:
    """What every reader makes of a lake, now and as of a snapshot in the middle of it."""
    found = {kind: read(lake, kind) for kind in KINDS}
    found["every table"] = [rows(lake, table) for table in TABLES]
    with closing(lake.at(lake.newest_snapshot() // 2)) as past:
        names = [str(name) for (name,) in past.sql("SELECT tensor FROM tensors").rows()]
        found["the past"] = [past.tensor(name)[:].tobytes() for name in names]
        found["the past"] += read(past, "tables")
    return found
