"""Two machines, one lake: the whole chain with its catalog in Postgres and its files in a bucket.

The machines are two folders that share nothing else; the second is given ``lake.toml`` alone.
"""

import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actlake.flows import export as exporting
from actlake.flows.compare import compare
from actlake.flows.encode import encode
from actlake.flows.export import export
from actlake.flows.extract import extract
from actlake.flows.maintain import maintain
from actlake.flows.summarize import summarize
from actlake.flows.train import train
from actlake.storage import Lake
from actlake.storage.errors import BusyError
from actlake.storage.s3_store import S3Store
from tests.flows.commands import Cli, ok, refused
from tests.flows.tiny import fill, write_documents
from tests.postgres import Server
from tests.s3 import Objects

pytestmark = pytest.mark.slow

SITES = ("resid_post.0", "resid_post.1")
NOW: dict[str, Any] = {"expire_days": 0, "keep_snapshots": 1, "grace_hours": 0}
COLLECT = "gc --remove --expire-days 0 --keep-snapshots 1 --grace-hours 0".split()


@dataclass(frozen=True)
class Machines:
    """A lake as two machines have it open."""

    here: Lake
    there: Lake
    tensors: list[str]

    @property
    def store(self) -> S3Store:
        assert isinstance(self.here.store, S3Store)
        return self.here.store

    def flip(self, path: Path) -> None:
        """Change a bit of a file in the bucket."""
        whole = b"".join(self.store.pieces(path))
        spoilt = whole[:40] + bytes([whole[40] ^ 1]) + whole[41:]
        self.store._bucket.put(self.store._named(path), spoilt)

    def copies(self, lake: Lake) -> list[Path]:
        """Of chunks and other files, on the disk of a machine."""
        found = (one for one in lake.root.rglob("*") if one.is_file())
        return [one.relative_to(lake.root) for one in found if one.name != "lake.toml"]


@pytest.fixture(scope="module")
def machines(
    postgres: Server,
    s3: Objects,
    tiny: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Machines]:
    """A lake from documents to statistics, made by two machines in turn."""
    folder = tmp_path_factory.mktemp("machines")
    here = Lake.create(folder / "here", catalog=f"postgres:{postgres.database()}", store=s3.place())
    (folder / "there").mkdir()
    shutil.copy(here.root / "lake.toml", folder / "there")
    there = Lake.open(folder / "there")
    documents = write_documents(folder / "documents.jsonl", (3, 9, 2, 12), seed=1, repeat=12)
    model = tiny("llama")
    fill(here, documents, [model])
    tensors = extract(there, source=str(model), sites=[*SITES], corpus="c", torch_threads=1)
    few: dict[str, Any] = {"k": 4, "n_features": 32, "steps": 10, "batch_rows": 64}
    train(here, tensor=tensors[1], dictionary="d", torch_threads=1, **few)
    summarize(here, codes=encode(there, dictionary="d"))
    compare(there, a=tensors[0], b=tensors[1], permutations=9)
    yield Machines(here, there, tensors)
    here.close()
    there.close()


def test_chain__is_one_lake_on_both_machines(machines: Machines, cli: Cli) -> None:
    here, there = machines.here, machines.there
    codes = here.codes("d@c")
    fires = there.sql("SELECT sum(n_fires) FROM feature_statistics").rows()
    assert fires == [(codes[0 : codes.rowset.rows].nnz,)]
    for name in machines.tensors:
        one, other = (np.asarray(lake.tensor(name)[:]).view(np.uint16) for lake in (here, there))
        np.testing.assert_array_equal(one, other)
    assert here.contexts("d@c", int(np.argmax(np.bincount(codes[0:9].indices)))) != []
    [(cka,)] = here.sql("SELECT value FROM similarities WHERE method LIKE '%cka%'").rows()
    assert 0 < float(str(cka)) <= 1
    shown = ok(cli(there.root, "sql", "SELECT count(*) AS n FROM tokens", "--format", "csv"))
    assert shown.split() == ["n", str(codes.rowset.rows)]
    assert "d" in ok(cli(there.root, "ls", "dictionaries"))


def test_damage__in_the_bucket_is_found_and_mended_from_any_machine(
    machines: Machines, cli: Cli
) -> None:
    here, there = machines.here, machines.there
    tensor, codes = here.tensor(machines.tensors[1]), here.codes("d@c")
    [tokens] = [one.path for one in here.store.files(here.root / "tables/main/tokens")]
    [partial, *_] = [one.path for one in here.store.files(here.root / "partials")]
    damaged = (tensor.folder / "c.1.0", codes.folder / "0/values/c.0", tokens, partial)
    for path in damaged:
        machines.flip(path)
    found = cli(there.root, "repair")
    assert found.exit_code == 0, found.output
    assert found.stdout.count(": put back, ") == 4
    assert all(f"{one.relative_to(here.root)} (" in found.output for one in damaged)
    assert [*here.verify()] == []


def test_damage__of_a_copy_is_healed_from_the_bucket(machines: Machines) -> None:
    name = machines.tensors[0]
    reading = Lake.open(machines.there.root)
    right = np.array(reading.tensor(name)[:])
    copy = reading.tensor(name).folder / "c.0.0"
    whole = copy.read_bytes()
    copy.write_bytes(whole[:3] + bytes([whole[3] ^ 1]) + whole[4:])
    reading.close()
    again = Lake.open(machines.there.root)
    np.testing.assert_array_equal(np.asarray(again.tensor(name)[:]), right)
    assert copy.read_bytes() == whole
    again.close()


def test_work__on_one_machine_is_not_begun_on_another(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    with machines.here._claims.held("work"):
        monkeypatch.setattr("actlake.storage.claims._host", lambda: "another machine")
        with pytest.raises(BusyError, match="being worked on"):
            machines.there._claims.take("work")
    machines.there._claims.take("work")


def test_backups__are_left_to_the_server(machines: Machines, cli: Cli) -> None:
    assert "run `pg_dump --format=custom" in refused(cli(machines.there.root, "backup"))
    assert "with pg_restore" in refused(cli(machines.there.root, "restore"))
    assert not (machines.there.root / "backups").exists()


def test_init__makes_a_lake_and_refuses_a_password(
    postgres: Server, s3: Objects, cli: Cli, tmp_path: Path
) -> None:
    words = f"postgres:{postgres.database()}"
    line = refused(cli(tmp_path / "lake", "init", "--catalog", f"{words} password=hunter2"))
    assert "hunter2" not in line
    made = cli(tmp_path / "lake", "init", "--catalog", words, "--store", s3.place())
    assert "made a lake" in ok(made)
    assert Lake.open(tmp_path / "lake").newest_snapshot() > 0


@pytest.mark.soak
def test_upkeep__by_one_machine_keeps_what_another_needs_and_leaves_no_copy(
    machines: Machines, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = machines.here, machines.there
    before = here.sql("SELECT count(*), sum(n_fires) FROM feature_statistics").rows()
    monkeypatch.setattr(exporting, "_draw", lambda *_: {})  # pictures are most of the time
    exported = here.newest_snapshot()
    assert export(here, tmp_path / "export")
    shutil.rmtree(tmp_path / "export")
    with monkeypatch.context() as patch:  # who cannot see that it is gone
        patch.setattr(socket, "gethostname", lambda: "there")
        work = {one.step: one.what for one in maintain(there, verify_parts=0, **NOW)}
    assert work["compact"].endswith("files of postings became 1")
    assert "pg_dump --format=custom --schema=lake_" in work["back up"]
    assert here.at(exported).sql("SELECT count(*) FROM postings").rows() != [(0,)]
    assert here.sql("SELECT count(*), sum(n_fires) FROM feature_statistics").rows() == before

    ok(cli(here.root, "withdraw", "c", "3", "--reason", "asked"))
    here.tensor(machines.tensors[0])[:]
    assert here.sql("SELECT text FROM documents WHERE document = 3").rows() == [("",)]
    assert [*there.verify()] == []

    ok(cli(here.root, "delete", "corpus", "c", "--cascade"))
    for lake in (here, there):
        ok(cli(lake.root, *COLLECT))
    left = [one.key for one in machines.store._bucket.below("")]
    assert [key for key in left if not key.startswith("tables/")] == ["lake"]
    assert [machines.copies(lake) for lake in (here, there)] == [[], []]
    assert [*there.verify()] == []
