"""The whole chain with the catalog in Postgres, from the command line to the nightly upkeep."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actlake.flows.encode import encode
from actlake.flows.export import export
from actlake.flows.maintain import maintain
from actlake.flows.summarize import summarize
from actlake.storage import Lake
from actlake.storage.errors import BusyError
from tests.flows.commands import Cli, ok, refused
from tests.flows.tiny import fill, learn, write_documents
from tests.postgres import Server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chain(
    postgres: Server, tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lake]:
    """A lake from documents to statistics."""
    folder = tmp_path_factory.mktemp("chain")
    lake = Lake.create(folder / "lake", catalog=f"postgres:{postgres.database()}")
    documents = write_documents(folder / "documents.jsonl", (4, 9, 2, 40), seed=1, repeat=12)
    learn(fill(lake, documents, [tiny("llama")]), tiny("llama"), steps=10)
    summarize(lake, codes=encode(lake, dictionary="d"))
    yield lake
    lake.close()


def test_chain__ends_in_statistics_that_agree_with_the_codes(chain: Lake, cli: Cli) -> None:
    [name] = chain.table("codes").collect()["codes"].to_list()
    codes = chain.codes(name)
    fires = chain.sql("SELECT sum(n_fires) FROM feature_statistics").rows()
    assert fires == [(codes[0 : codes.rowset.rows].nnz,)]
    shown = ok(cli(chain.root, "sql", "SELECT count(*) AS n FROM tokens", "--format", "csv"))
    assert shown.split() == ["n", str(codes.rowset.rows)]
    assert "d" in ok(cli(chain.root, "ls", "dictionaries"))


def test_chain__is_verified_and_rot_is_found(chain: Lake, cli: Cli) -> None:
    assert [*chain.verify()] == []
    [file] = sorted((chain.root / "tables/main/feature_statistics").glob("*.parquet"))[:1]
    whole = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    found = cli(chain.root, "verify")
    file.write_bytes(whole)
    assert found.exit_code == 1
    assert f"{file.relative_to(chain.root)} (feature_statistics): its content" in found.output
    assert "1 fault(s)" in found.output


@pytest.mark.soak
def test_upkeep__leaves_backups_to_the_server(chain: Lake, cli: Cli, tmp_path: Path) -> None:
    before = chain.sql("SELECT count(*), sum(n_fires) FROM feature_statistics").rows()
    work = maintain(chain, verify_parts=0, keep_snapshots=1, expire_days=0, grace_hours=0)
    backup = next(one for one in work if one.step == "back up")
    assert "pg_dump --format=custom --schema=lake_" in backup.what
    assert not (chain.root / "backups").exists()
    assert "with pg_restore" in refused(cli(chain.root, "restore"))
    assert "run `pg_dump" in refused(cli(chain.root, "backup"))
    assert chain.sql("SELECT count(*), sum(n_fires) FROM feature_statistics").rows() == before
    assert export(chain, tmp_path / "export")


def test_work__on_one_machine_is_not_begun_on_another(
    chain: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Lake.open(chain.root)
    with chain._claims.held("work"):
        monkeypatch.setattr("actlake.storage.claims._host", lambda: "another machine")
        with pytest.raises(BusyError, match="being worked on"):
            other._claims.take("work")
    other._claims.take("work")
    other.close()


def test_init__makes_a_lake_and_refuses_a_password(
    postgres: Server, cli: Cli, tmp_path: Path
) -> None:
    words = f"postgres:{postgres.database()}"
    line = refused(cli(tmp_path / "lake", "init", "--catalog", f"{words} password=hunter2"))
    assert "hunter2" not in line
    assert "made a lake" in ok(cli(tmp_path / "lake", "init", "--catalog", words))
    assert Lake.open(tmp_path / "lake").newest_snapshot() > 0
