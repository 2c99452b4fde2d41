"""Files in a bucket keep every promise that files in a folder keep: the same tests, run on both,
with the catalog in Postgres."""

import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from actlake.storage import Lake
from actlake.storage.retention import end_dead_runs, remove_unnamed
from actlake.storage.s3_store import S3Store
from actlake.storage.store import Store
from tests.forked import child
from tests.postgres import Server, fork_lake
from tests.s3 import Objects, fork_objects
from tests.storage.conformance.appending import AppendingTests
from tests.storage.conformance.catalog import CatalogTests
from tests.storage.conformance.protocol import ProtocolTests
from tests.storage.conformance.run import RunTests
from tests.storage.conformance.shards import ShardTests
from tests.storage.conformance.store import StoreTests
from tests.storage.s3_victims import CODES, KILLS, VALUES, killed, prepare


@pytest.fixture(scope="module")
def empty(postgres: Server, s3: Objects, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake as ``create`` leaves it. Do not write to it: fork it."""
    root = tmp_path_factory.mktemp("lakes") / "s3"
    Lake.create(root, catalog=f"postgres:{postgres.database()}", store=s3.place()).close()
    return root


@pytest.fixture(scope="module")
def bench(
    empty: Path, postgres: Server, s3: Objects, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lake]:
    root = fork_lake(postgres, empty, tmp_path_factory.mktemp("lakes") / "bench")
    lake = Lake.open(fork_objects(empty, root, s3))
    yield lake
    lake.close()


@pytest.fixture
def fresh(empty: Path, postgres: Server, s3: Objects, tmp_path: Path) -> Iterator[Lake]:
    root = fork_lake(postgres, empty, tmp_path / "lake")
    lake = Lake.open(fork_objects(empty, root, s3))
    yield lake
    lake.close()


@pytest.fixture
def pair(empty: Path, postgres: Server, s3: Objects, tmp_path: Path) -> tuple[Path, Path]:
    ours, theirs = (
        fork_objects(empty, fork_lake(postgres, empty, tmp_path / name), s3)
        for name in ("ours", "theirs")
    )
    return ours, theirs


class TestS3Catalog(CatalogTests):
    pass


class TestS3Appending(AppendingTests):
    pass


@pytest.mark.soak
class TestS3Shards(ShardTests):
    pass


class TestS3Run(RunTests):
    pass


class TestS3Protocol(ProtocolTests):
    @pytest.fixture
    def words(self, postgres: Server) -> str:
        return f"postgres:{postgres.database()}"

    @pytest.fixture
    def store(self, s3: Objects) -> str:
        return s3.place()


class TestS3Store(StoreTests):
    @pytest.fixture
    def store(self, s3: Objects, tmp_path: Path) -> Store:
        return S3Store(tmp_path.resolve(), s3.place())


@pytest.mark.slow
def test_writers__killed_between_an_object_and_its_receipt_lose_and_double_nothing(
    fresh: Lake,
) -> None:
    prepare(fresh)
    for work, points in KILLS.items():
        for point in points:
            victim = child(killed, fresh.root, work, *point)
            victim.start()
            victim.join(60)
            assert victim.exitcode == -signal.SIGKILL, point
        work(fresh)
    np.testing.assert_array_equal(fresh.tensor("t:float32")[:], VALUES)
    np.testing.assert_array_equal(fresh.codes("d@c")[0 : len(CODES)].dense(), CODES)
    assert fresh.sql("SELECT count(*) FROM postings").rows() == [(np.count_nonzero(CODES),)]
    by_row = 'SELECT codes, "row", feature, value FROM {} ORDER BY ALL'
    assert fresh.sql(by_row.format("firings")).rows() == fresh.sql(by_row.format("postings")).rows()
    with fresh.run("gc", {}, {}) as run:
        end_dead_runs(run)
        removed = {one.path for one in remove_unnamed(run, grace=timedelta(0))}
    aside = {path for path in removed if path.endswith(".tmp")}  # on the disk
    [folder] = [path for path in removed - aside if not path.startswith("tables/")]
    assert folder.startswith("tensors/")  # of the plan that nobody knew
    assert len(aside) == 2
    assert [path for path in removed if "/postings/" in path] != []
    assert [*fresh.verify()] == []
