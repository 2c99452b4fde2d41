"""A catalog in Postgres keeps every promise that one in SQLite keeps: the same tests, run on it.

Those of whole lakes run with their files in a bucket, in ``test_s3.py``; in a folder, in the soak.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from actlake.storage import Lake
from actlake.storage.settings import CatalogPlace
from tests.postgres import Server, fork_lake
from tests.soak.crowd import prepare
from tests.soak.race import insert_twice
from tests.storage.conformance.appending import AppendingTests
from tests.storage.conformance.catalog import CatalogTests
from tests.storage.conformance.claims import ClaimsTests
from tests.storage.conformance.protocol import ProtocolTests
from tests.storage.conformance.run import RunTests
from tests.storage.conformance.shards import ShardTests


@pytest.fixture(scope="module")
def empty(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake as ``create`` leaves it. Do not write to it: fork it."""
    root = tmp_path_factory.mktemp("lakes") / "postgres"
    Lake.create(root, catalog=f"postgres:{postgres.database()}").close()
    return root


@pytest.fixture(scope="module")
def bench(
    empty: Path, postgres: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lake]:
    lake = Lake.open(fork_lake(postgres, empty, tmp_path_factory.mktemp("lakes") / "bench"))
    yield lake
    lake.close()


@pytest.fixture
def fresh(empty: Path, postgres: Server, tmp_path: Path) -> Iterator[Lake]:
    lake = Lake.open(fork_lake(postgres, empty, tmp_path / "lake"))
    yield lake
    lake.close()


@pytest.mark.soak
class TestPostgresCatalog(CatalogTests):
    pass


class TestPostgresAppending(AppendingTests, ShardTests):
    @pytest.fixture
    def pair(self, empty: Path, postgres: Server, tmp_path: Path) -> tuple[Path, Path]:
        ours, theirs = tmp_path / "ours", tmp_path / "theirs"
        return fork_lake(postgres, empty, ours), fork_lake(postgres, empty, theirs)


@pytest.mark.slow
def test_shards__that_two_processes_insert_are_there_once(
    empty: Path, postgres: Server, tmp_path: Path
) -> None:
    """Without a claim between them: what the commit itself looks at keeps them apart."""
    root = fork_lake(postgres, empty, tmp_path / "raced")
    lake = Lake.open(root)
    prepare(lake)
    lake.close()
    stored, refused = insert_twice(root, 6)
    assert stored == [1] * 6
    assert refused == 6


@pytest.mark.soak
class TestPostgresRun(RunTests):
    pass


@pytest.mark.soak
class TestPostgresProtocol(ProtocolTests):
    @pytest.fixture
    def words(self, postgres: Server) -> str:
        return f"postgres:{postgres.database()}"


class TestPostgresClaims(ClaimsTests):
    @pytest.fixture
    def place(self, postgres: Server) -> CatalogPlace:
        return CatalogPlace("postgres", postgres.database(), "lake_claims")
