"""Files in a bucket keep every promise that files in a folder keep: the same tests, run on both,
with the catalog in Postgres."""

from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path

import pytest

from actlake.storage import Lake
from actlake.storage.s3_store import S3Store
from actlake.storage.store import Store
from tests.postgres import Server, fork_lake
from tests.s3 import Objects, fork_objects
from tests.storage.conformance.catalog import CatalogTests
from tests.storage.conformance.protocol import ProtocolTests
from tests.storage.conformance.run import RunTests
from tests.storage.conformance.store import StoreTests


@pytest.fixture(scope="module", autouse=True)
def environment(s3: Objects) -> None:
    """Children know the bucket, too: their server has the environment that it began with."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


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


class TestS3Catalog(CatalogTests):
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
