"""Kill it anywhere: what the next run leaves is what an undisturbed one would have left."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from actlake.flows import train as train_module
from actlake.flows.encode import encode
from actlake.flows.extract import extract
from actlake.flows.summarize import summarize
from actlake.flows.train import train
from actlake.storage.lake import Lake
from tests.flows.tiny import payloads
from tests.flows.victims import Flow, run

pytestmark = pytest.mark.slow

POINTS = (
    "link:2",
    "link:9:end",
    "rename:2:end",
    "fsync:30",
    "commit:5",
    "hashes:4:end",
    "record:3",
)


def extracting(source: Path, path: Path) -> None:
    lake = Lake.open(path)
    sites = ["resid_post.1", "mlp_act.0"]
    extract(lake, source=str(source), sites=sites, corpus="c", token_budget=96, torch_threads=1)


def encoding(path: Path) -> None:
    encode(Lake.open(path), dictionary="d")


def summarizing(path: Path) -> None:
    summarize(Lake.open(path), codes="d@c", mask="no_special")


def training(path: Path) -> None:
    train_module.CHECKPOINT_SECONDS = 0.0
    lake = Lake.open(path)
    options: dict[str, Any] = {"k": 4, "n_features": 32, "steps": 40, "batch_rows": 32}
    train(lake, tensor="tiny-llama:resid_post.1@c", dictionary="t", torch_threads=1, **options)


def check(lake: Lake, *, crashed: bool = True) -> None:
    """What must hold of any lake after the run that followed a kill."""
    assert [str(fault) for fault in lake.verify()] == []
    doubled = lake.sql(
        'SELECT owner, "array", shard FROM shards GROUP BY ALL HAVING count(*) > 1'
    ).rows()
    assert doubled == []
    left = [path for path in lake.root.rglob("*.tmp") if "tables" not in path.parts]
    states = [row[0] for row in lake.sql("SELECT state FROM runs ORDER BY started").rows()]
    assert states[-1] == "completed"
    assert "running" not in states
    if crashed:
        assert "crashed" in states
    # A kill may leave a file aside, never one under the name of another.
    assert all(path.name.startswith(".") for path in left)


def test_extraction__killed_at_ten_moments(
    ingested_lake: Path, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    flow = partial(extracting, tiny("llama"))
    undisturbed = Path(shutil.copytree(ingested_lake, tmp_path / "undisturbed"))
    seconds = run(flow, undisturbed)
    right = payloads(Lake.open(undisturbed))
    assert len(right) == 18
    for moment in range(10):
        path = Path(shutil.copytree(ingested_lake, tmp_path / f"killed-{moment}"))
        run(flow, path, after=seconds * (moment + 0.5) / 10)
        # How far it came depends on the machine's load; the next test kills at exact points.
        run(flow, path)
        lake = Lake.open(path)
        assert payloads(lake) == right
        check(lake, crashed=False)
        lake.close()
        shutil.rmtree(path)


@pytest.mark.parametrize("at", POINTS)
def test_extraction__killed_at_a_point(
    at: str,
    ingested_lake: Path,
    undisturbed: dict[str, str],
    tiny: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    path = Path(shutil.copytree(ingested_lake, tmp_path / "lake"))
    flow = partial(extracting, tiny("llama"))
    run(flow, path, at=at)
    run(flow, path)
    lake = Lake.open(path)
    assert payloads(lake) == undisturbed
    check(lake)


@pytest.fixture(scope="module")
def undisturbed(
    ingested_lake: Path, tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    path = shutil.copytree(ingested_lake, tmp_path_factory.mktemp("undisturbed") / "lake")
    extracting(tiny("llama"), Path(path))
    return payloads(Lake.open(path))


@pytest.mark.parametrize("moments", [("step:7",), ("step:23", "step:9:end"), ("commit:2:end",)])
def test_training__goes_on_from_its_checkpoint(
    moments: tuple[str, ...], dictionary_lake: Path, tmp_path: Path
) -> None:
    once = Path(shutil.copytree(dictionary_lake, tmp_path / "once"))
    run(training, once)
    right = Lake.open(once)
    again = Path(shutil.copytree(dictionary_lake, tmp_path / "again"))
    for at in moments:
        run(training, again, at=at)
    run(training, again)
    found = Lake.open(again)
    assert found.dictionary("t").sha256 == right.dictionary("t").sha256
    for table in ("evaluations", "training_logs"):
        assert rows(found, table) == rows(right, table)
    assert [*(again / "checkpoints").iterdir()] == []
    check(found)


@pytest.mark.parametrize(
    ("flow", "tables", "points"),
    [
        (encoding, ("codes", "postings"), ("rename:2:end", "link:7", "record:4", "commit:8:end")),
        (
            summarizing,
            ("feature_statistics", "feature_histograms", "feature_examples", "feature_tokens"),
            ("link:3", "record:4", "commit:3", "commit:11:end"),
        ),
    ],
    ids=["encode", "summarize"],
)
def test_analysis__killed_and_resumed(
    flow: Flow,
    tables: tuple[str, ...],
    points: tuple[str, ...],
    dictionary_lake: Path,
    tmp_path: Path,
) -> None:
    start = Path(shutil.copytree(dictionary_lake, tmp_path / "start"))
    if flow is summarizing:
        encoding(start)
    once = Path(shutil.copytree(start, tmp_path / "once"))
    run(flow, once)
    again = Path(shutil.copytree(start, tmp_path / "again"))
    for at in points[:2]:
        run(flow, again, at=at)
    run(flow, again)
    other = Path(shutil.copytree(start, tmp_path / "other"))
    for at in points[2:]:
        run(flow, other, at=at)
    run(flow, other)
    right = Lake.open(once)
    for path in (again, other):
        found = Lake.open(path)
        assert payloads(found) == payloads(right)
        for table in tables:
            assert rows(found, table) == rows(right, table)
        check(found)


def rows(lake: Lake, table: str) -> list[str]:
    """The rows of a table without what differs between two lakes: runs and generated ids."""
    frame = lake.table(table).collect()
    kept = [name for name in frame.columns if name not in ("run", "id", "path", "fingerprint")]
    return sorted(map(repr, frame.select(kept).iter_rows()))
