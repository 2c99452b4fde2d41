"""A crowd: processes that write and read one lake at the same time.

Writers commit one shard at a time, and in the same transaction a number about all shards that
they have committed so far; readers hold both against each other and against the stored rows, at
one snapshot and in one query; another process merges small files meanwhile. Nothing may be lost,
doubled or refused, and no reader may see half a commit.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actlake.storage.corpora import Document
from actlake.storage.fields import arrow_schema
from actlake.storage.lake import Lake
from actlake.storage.merging import merge_small_files
from actlake.storage.rowsets import Rowset
from actlake.storage.shards import receipts_table, refuse_committed
from actlake.storage.tensor_writer import TensorPlan, plan_tensors, publish_shard
from tests.forked import CONTEXT, child
from tests.soak.outcome import Outcome

SECONDS = 300.0
WRITERS, READERS = 8, 4
LOOK_SECONDS = 6.0
"""From two looks of a reader to its next two. Readers that never wait take the processor from
writers, which are to be measured."""
MERGE_SECONDS = 30.0
WIDTH = 4
SHARDS = 256
"""Of a tensor; a writer begins another when one is full."""
LEAST_RATE = 30.0
"""Commits a second that all writers together are to reach."""
MOST_SECONDS = 1.0
"""That a commit may take at the 95th percentile."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """What a crowd did, and what is in the lake afterwards."""

    seconds: float
    latencies: list[float]
    """Of each commit that was acknowledged, in seconds."""
    looks: int
    """Snapshots and queries that readers held against each other."""
    torn: list[str]
    """What readers saw that was no whole commit."""
    errors: list[str]
    """Of any process."""
    lost: list[str]
    """Acknowledged shards that are not there once and as they were written, and other faults."""

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds


def soak(folder: Path, random: np.random.Generator) -> Iterator[Outcome]:
    found = crowd(new_lake(folder / "lake"), SECONDS, WRITERS, READERS)
    slowest = float(np.quantile(found.latencies, 0.95))
    fast = found.rate >= LEAST_RATE and slowest <= MOST_SECONDS
    commits = len(found.latencies)
    yield Outcome(
        attack=f"{WRITERS} writers, {READERS} readers, two looks each {LOOK_SECONDS:.0f} s, "
        f"and a merge, {SECONDS:.0f} s",
        attempts=commits,
        survived=commits if fast and not found.errors else 0,
        lost=len(found.lost),
        seen=f"{found.rate:.0f} commits/s, 95 % within {slowest * 1e3:.0f} ms, slowest "
        f"{max(found.latencies):.1f} s; {'; '.join(found.errors + found.lost[:3]) or 'no error'}",
    )
    yield Outcome(
        attack="a number beside the shards that it counts, read meanwhile",
        attempts=found.looks,
        survived=found.looks - len(found.torn),
        lost=0,
        seen=f"{found.looks / SECONDS:.1f} looks/s" + "".join(f"; {one}" for one in found.torn[:3]),
    )


def new_lake(path: Path) -> Path:
    """A lake with a rowset of ``SHARDS`` shards of one row."""
    lake = Lake.create(path)
    prepare(lake)
    lake.close()
    return path


def prepare(lake: Lake) -> None:
    """Give ``lake``, of whatever backend, the rowset that a crowd writes over."""
    lake.create_corpus("crowd", [Document(source_id="0", text="crowd")])
    columns = {"document": np.zeros(SHARDS, np.int64)}
    lake.create_rowset("crowd", corpus="crowd", columns=columns, width_hint=1 << 25)


def crowd(path: Path, seconds: float, writers: int, readers: int) -> Crowd:
    """Let so many processes at the lake for so long, then look at what they left."""
    answers: Any = CONTEXT.Queue()
    start = CONTEXT.Barrier(writers + readers + 2)
    jobs: list[tuple[Callable[..., Any], int]] = [
        *((_write, index) for index in range(writers)),
        *((_read, index) for index in range(readers)),
        (_merge, 0),
    ]
    processes = [child(_work, job, path, index, seconds, start, answers) for job, index in jobs]
    for one in processes:
        one.start()
    start.wait(300)
    found: dict[tuple[str, int], Any] = {}
    errors: list[str] = []
    for _ in processes:
        job, index, result, error = answers.get(timeout=seconds + 300)
        found[job, index] = result
        if error:
            errors.append(error)
    for one in processes:
        one.join(60)
    written: dict[int, list[float]] = {at: found["_write", at] for at in range(writers)}
    seen: list[Seen] = [found["_read", at] for at in range(readers)]
    return Crowd(
        seconds=seconds,
        latencies=[latency for one in written.values() for latency in one],
        looks=sum(one.looks for one in seen),
        torn=[what for one in seen for what in one.torn],
        errors=errors,
        lost=_lost(path, {index: len(one) for index, one in written.items()}),
    )


def _work(
    job: Callable[..., Any], path: Path, index: int, seconds: float, start: Any, answers: Any
) -> None:
    result, error = None, ""
    try:
        with ExitStack() as resources:
            lake = Lake.open(path)
            resources.callback(lake.close)
            step, result = job(lake, index, resources)
            start.wait(300)
            deadline = time.monotonic() + seconds
            while (now := time.monotonic()) < deadline:
                next_at = now + step()
                time.sleep(max(0.0, min(next_at, deadline) - time.monotonic()))
    except BaseException as raised:  # noqa: BLE001 - whatever it is, it is what the test is about
        start.abort()
        error = f"{job.__name__} {index}: {type(raised).__name__}: {raised}"
    answers.put((job.__name__, index, result, error))


Job = tuple[Callable[[], float], Any]
"""The step that is repeated, with the seconds from its begin to that of the next, and what its
steps fill."""


@dataclass(slots=True)
class Seen:
    """What a reader has looked at."""

    looks: int
    torn: list[str]


def _write(lake: Lake, index: int, resources: ExitStack) -> Job:
    run = resources.enter_context(lake.run("crowd", {"writer": index}, {}))
    rowset = lake.rowset("crowd")
    plan, tensor = plan_of("crowd", rowset), ""
    latencies: list[float] = []
    total = 0.0

    def step() -> float:
        nonlocal plan, tensor, total
        number, shard = divmod(len(latencies), SHARDS)
        if shard == 0:
            plan = plan_of(f"crowd-{index}-{number}", rowset, str(index))
            tensor = plan_tensors(run, [plan])[plan.name]
            total = 0.0
        value = _value(index, len(latencies))
        total += value
        rows = np.full((1, WIDTH), value, np.float32)
        receipts = publish_shard(run, plan, tensor, shard, rows)
        numbers = _numbers({f"sum of {plan.name}": total, f"shards of {index}": len(latencies) + 1})
        started = time.monotonic()
        run.append(
            {"shards": receipts_table(receipts), "labels": numbers},
            f"shard {shard} of {plan.name}",
            check=lambda now: refuse_committed(now, receipts),
        )
        latencies.append(time.monotonic() - started)
        return 0.0

    return step, latencies


def plan_of(name: str, rowset: Rowset, site: str = "none") -> TensorPlan:
    """A small tensor over ``rowset``, of no model."""
    return TensorPlan(
        name=name,
        model="none",
        model_fingerprint="none",
        site=site,
        module="none",
        side="given",
        rowset=rowset,
        dtype="float32",
        compute_dtype="float32",
        width=WIDTH,
    )


def _value(writer: int, commit: int) -> float:
    return float((commit * 8 + writer) % 4093 + 1)  # small, so that a sum of them is exact


def _numbers(numbers: dict[str, float]) -> pa.Table:
    """What is said of the shards so far, as labels of the only document."""
    rows = [
        {"corpus": "crowd", "label": label, "document": 0, "value_real": float(number)}
        for label, number in numbers.items()
    ]
    return pa.Table.from_pylist(rows, arrow_schema("labels"))


def _read(lake: Lake, index: int, resources: ExitStack) -> Job:
    seen = Seen(0, [])

    def step() -> float:
        seen.torn += [*_torn_query(lake), *_torn_snapshot(lake, index + seen.looks // 2)]
        seen.looks += 2
        return LOOK_SECONDS

    return step, seen


AGREE = """
SELECT s.label, s.n, l.n FROM (
    SELECT 'shards of ' || t.site AS label, count(*) AS n FROM shards AS r
    INNER JOIN tensors AS t ON t.id = r.owner GROUP BY t.site
) AS s
FULL JOIN (
    SELECT label, max(value_real) AS n FROM labels WHERE label LIKE 'shards of %' GROUP BY label
) AS l USING (label)
WHERE s.n IS DISTINCT FROM l.n
"""


def _torn_query(lake: Lake) -> list[str]:
    """What one query over the newest snapshot sees that no commit left so."""
    return [f"in a query: {row}" for row in lake.sql(AGREE).rows()]


def _torn_snapshot(lake: Lake, turn: int) -> list[str]:
    """As ``_torn_query``, at one snapshot and down to the stored rows, of one tensor a turn."""
    past = lake.at(lake.newest_snapshot())
    query = "SELECT label, max(value_real) FROM labels WHERE label LIKE 'sum of %' GROUP BY ALL"
    sums = sorted(past.sql(query).rows())
    torn = []
    for label, expected in sums[turn % len(sums) :][:1] if sums else []:
        found = float(_rows(past, str(label).removeprefix("sum of ")).sum(dtype=np.float64))
        if found != expected:
            torn.append(f"at snapshot {past.snapshot}: {label} is {found}, not {expected}")
    past.close()
    return torn


def _rows(lake: Lake, tensor: str) -> NDArray[Any]:
    """The first number of each committed row of a tensor."""
    found = lake.tensor(tensor)
    return found[: len(found.committed)][:, 0]


def _merge(lake: Lake, index: int, resources: ExitStack) -> Job:
    run = resources.enter_context(lake.run("merge", {}, {}))

    def step() -> float:
        list(merge_small_files(run))
        return MERGE_SECONDS

    return step, []


def _lost(path: Path, acknowledged: dict[int, int]) -> list[str]:
    lake = Lake.open(path)
    lost: list[str] = []
    for index, commits in acknowledged.items():
        query = "SELECT tensor FROM tensors WHERE site = $site ORDER BY length(tensor), tensor"
        names = [str(name) for (name,) in lake.sql(query, site=str(index)).rows()]
        found = [value for name in names for value in _rows(lake, name).tolist()]
        right = [_value(index, commit) for commit in range(commits)]
        if found != right:
            first = next(
                (at for at, two in enumerate(zip(found, right, strict=False)) if two[0] != two[1]),
                None,
            )
            lost.append(
                f"writer {index} has {len(found):,} shards and {commits:,} acknowledgements; "
                f"the first that differs is {first}"
            )
    lost += map(str, lake.verify())  # which finds shards that are there twice
    lake.close()
    return lost
