"""repair: put back, byte for byte, what verify finds damaged and the rest of the lake can tell."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import duckdb

from actlake.flows.artifacts import show_table, shown_progress
from actlake.flows.document_pools import POOL, pools_of
from actlake.flows.encode import encode_shard, encoder_of, encoding_device
from actlake.flows.extract_again import Extraction
from actlake.flows.maintain import remedy
from actlake.flows.progress import say
from actlake.flows.runners import Inline, Runner
from actlake.flows.summary_states import block_of, sources_of, statistics_of
from actlake.storage.committed import CommittedFile, files_of_tables, files_of_things
from actlake.storage.duck import one_line
from actlake.storage.durable import digest_of
from actlake.storage.errors import InputError, LakeError, NotFoundError
from actlake.storage.keys import Json, repeated
from actlake.storage.lake import Lake
from actlake.storage.partials import partial_bytes
from actlake.storage.repair import Way, codes_bytes, current, put_back, way_of
from actlake.storage.verify import Fault

__all__ = ["Repaired", "repair"]

ORDER = ("settings", "rowset", "tokens", "dictionary", "tensor", "codes", "postings", "partial")
"""What is made of what: a later kind is made of earlier ones."""

ADVICE = {
    "table": "put it back from a copy of the lake",
    "dictionary": "put it back from a copy of the lake, or train it again under another name",
    "tensor": "put it back from a copy of the lake, or write its rows again under another name",
}
REST = "put it back from a copy of the lake"


@dataclass(frozen=True, slots=True)
class Repaired:
    """A damaged file, and what came of it."""

    path: str
    owner: str
    row_start: int | None
    row_stop: int | None
    done: bool
    """Whether it is what was committed again; with ``dry_run``, whether it could be tried."""
    what: str
    """How it was made again, or why not and what to do."""

    def __str__(self) -> str:
        rows = "" if self.row_start is None else f", rows {self.row_start:,} to {self.row_stop:,}"
        state = "put back" if self.done else "left"
        return f"{self.path} ({self.owner}{rows}): {state}, {self.what}"


def repair(
    lake: Lake,
    *,
    dry_run: bool = False,
    models: Sequence[str] = (),
    images: Sequence[str] = (),
    device: str = "auto",
    runner: Runner | None = None,
) -> list[Repaired]:
    """What came of every damaged file; of a sound lake, nothing.

    Shards are extracted or encoded again, exactly those that are damaged; postings, partials,
    ``zarr.json`` and the columns of rowsets are made of what the lake has twice. A file is only
    replaced by the very bytes that were committed, so this may be killed and run again.

    dry_run
        Only say what would be tried.
    models
        ``NAME=SOURCE`` for models that are not where they were when their tensors were made.
    images
        ``CORPUS=FOLDER`` for images that are not below the folder that they were ingested from.
    device
        To extract on; the bits of another device than the first may differ, and are then refused.
    """
    sources = _named(models, "model", "NAME=SOURCE")
    folders = _named(images, "corpus", "CORPUS=FOLDER")
    reading = lake if lake.reading.mode != "never" else Lake.open(lake.root)
    damaged, others = _damaged(lake)
    told = [Repaired(one.path, one.owner, None, None, False, remedy([one])) for one in others]
    extraction = Extraction(reading, sources, device, folders)

    def step(file: CommittedFile) -> Repaired:
        rows, made = (file.row_start, file.row_stop), ""
        try:
            how, make = _way(reading, extraction, file)
            made = _made(reading, file)
            if not dry_run:
                put_back(lake.store, file, make())
        except NotFoundError as error:
            why = f"{error}; {ADVICE.get(file.kind, REST)}"
            return Repaired(file.path, file.owner, *rows, False, why)
        except (LakeError, duckdb.Error) as error:
            return Repaired(file.path, file.owner, *rows, False, f"{one_line(error)}{made}")
        return Repaired(file.path, file.owner, *rows, True, how)

    if dry_run or not damaged:
        return [*map(step, damaged), *told]
    parameters: dict[str, Json] = {"files": [one.path for one in damaged], "device": device}
    with lake.run("repair", parameters, {"snapshot": str(lake.newest_snapshot())}) as run:
        if run.done:
            say("repair: another process has just done the same")
            return []
        run.hold("repair")
        done: list[Repaired] = []
        with shown_progress("repair", len(damaged), "files") as advance:
            for one in (runner or Inline()).map("repair file", step, damaged):
                say(str(one))
                done.append(one)
                advance(1)
        show_table("repair", [asdict(one) for one in (*done, *told)], f"Repair of {lake.root}")
    return [*done, *told]


def _named(given: Sequence[str], kind: str, form: str) -> dict[str, str]:
    """What is said of each name."""
    pairs = [one.partition("=") for one in given]
    for name, sign, source in pairs:
        if not (name and sign and source):
            raise InputError(f"{name + sign + source!r} says no {kind}; give it as {form}")
    if twice := repeated([name for name, _, _ in pairs]):
        raise InputError(f"the {kind} {twice} is given twice; give it once")
    return {name: source for name, _, source in pairs}


def _damaged(lake: Lake) -> tuple[list[CommittedFile], list[Fault]]:
    """Files to make again, in the order in which that can be done, and faults that are no such."""
    with shown_progress(f"verify {lake.root}", lake.bytes(), "bytes") as advance:
        faults = {one.path: one for one in lake.verify(advance, tell=say)}
    connection, recorded = lake.reading.connection(), lake.reading.recorded()
    tables = [*files_of_tables(connection, recorded)]
    broken = {one.path for one in tables if one.path in faults}
    settings = CommittedFile("lake.toml", "lake", recorded.get("lake.toml"))
    named = [settings, *tables, *files_of_things(connection, lake.store, recorded, broken)]
    found = {one.path: one for one in named if one.path in faults}
    rest = [one for path, one in faults.items() if path not in found]
    return sorted(found.values(), key=_turn), rest


def _turn(file: CommittedFile) -> tuple[int, bool, str]:
    kind = file.array if file.kind == "table" else file.kind
    known = ORDER.index(kind) if kind in ORDER else len(ORDER)
    return known, not file.path.endswith(".json"), file.path


def _way(lake: Lake, extraction: Extraction, file: CommittedFile) -> Way:
    """How ``file`` can be made again; NotFoundError if it cannot."""
    if way := way_of(lake.reading, file):
        return way
    if file.kind == "tensor" and file.shard is not None:
        tensor, array, shard = current(lake.tensor(file.owner), file), file.array, file.shard
        source = extraction.source(tensor.model)
        return f"extracted again with {source}", lambda: extraction.chunk(tensor, array, shard)
    if file.kind == "codes" and file.shard is not None:
        codes, shard, array = current(lake.codes(file.owner), file), file.shard, file.array
        dictionary, tensor = lake.dictionary(codes.dictionary), lake.tensor(codes.tensor)

        def encoded() -> bytes:
            made = b""
            # By torch, or by numpy, as it is where there is no torch: low bits differ.
            for device in dict.fromkeys([encoding_device(extraction.device), ""]):
                encoder = encoder_of(dictionary, device)
                block = encode_shard(encoder, tensor, shard, codes.dtype.name)
                made = codes_bytes(block, array, codes.dtype)
                if digest_of([made]) == file.expected:
                    break
            return made

        return f"encoded again with {codes.dictionary}", encoded
    if file.kind == "partial":
        return "summarized again", lambda: _partial(lake, file)
    raise NotFoundError("nothing else in the lake tells what it held")


def _made(lake: Lake, file: CommittedFile) -> str:
    """What a shard was computed by, for where it comes out otherwise."""
    query = """
        SELECT r.code_version, r.host, s.token_budget, s.torch_threads
        FROM shards AS s INNER JOIN runs AS r USING (run)
        WHERE s.owner = $owner AND s.shard = $shard LIMIT 1
    """
    if file.kind not in ("tensor", "codes") or file.shard is None:
        return ""
    owner = file.path.split("/")[1]
    for version, host, budget, threads in lake.sql(query, owner=owner, shard=file.shard).rows():
        batches = "" if budget is None else f", {budget:,} tokens a batch, {threads} threads"
        return f" (made by actlake {version} on {host}{batches})"
    return ""


def _partial(lake: Lake, file: CommittedFile) -> bytes:
    query = """
        SELECT p.codes, p.mask, p.statistic, p.shard, (r.parameters ->> '$.examples')::BIGINT,
            r.parameters ->> '$.source'
        FROM partials AS p INNER JOIN runs AS r USING (run) WHERE p.path = $path
    """
    for name, mask, statistic, shard, examples, source in lake.sql(query, path=file.path).rows():
        codes, label = lake.codes(str(name)), None if source is None else str(source)
        rule, at = lake.mask(str(mask)), int(str(shard))
        if statistic == POOL:
            return partial_bytes(pools_of(lake, codes, rule, [at])[at])
        numbers = None if label is None else sources_of(lake, codes, label).of_document
        block = block_of(lake, codes, rule, at, numbers)
        state = statistics_of(int(str(examples)), label)[str(statistic)](block)
        return partial_bytes(state.arrays())
    raise NotFoundError("only older snapshots name it")
