"""What the catalog says is asked once a snapshot, as of one snapshot, and never of an older one."""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from actlake.storage import Document, Lake
from actlake.storage.errors import NotFoundError
from actlake.storage.reading import Bounds, Reading
from actlake.storage.transaction import Transaction
from tests.storage.conftest import Planted


@pytest.fixture
def lake(planted: Planted, tmp_path: Path) -> Iterator[Lake]:
    with closing(Lake.open(shutil.copytree(planted.root, tmp_path / "lake"))) as lake:
        yield lake


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that is executed from now on."""
    seen: list[str] = []
    execute = duckdb.DuckDBPyConnection.execute

    def listening(con: duckdb.DuckDBPyConnection, query: str, *given: object) -> object:
        seen.append(query)
        return execute(con, query, *given)

    monkeypatch.setattr(duckdb.DuckDBPyConnection, "execute", listening)
    return seen


def test_reader__asks_for_nothing_again_until_there_is_a_commit(
    lake: Lake, asked: list[str]
) -> None:
    first = lake.tensor("t:float32")
    begun = len(asked)
    again = lake.tensor("t:float32")
    assert [query for query in asked[begun:] if "FROM tensors" in query or "shards" in query] == []
    assert len(asked) - begun == 3  # a transaction, and its snapshot
    assert again == first
    lake.create_mask("another", "position > 1")
    begun = len(asked)
    assert lake.tensor("t:float32") == first
    assert [query for query in asked[begun:] if "FROM tensors" in query]


def test_files__of_what_is_known_are_not_looked_at_again(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    monkeypatch.setattr(Reading, "table", lambda _, table, **wanted: looked.append(table))
    lake.codes("d@c")
    assert {"codes", "rowsets", "shards"} <= {*looked}
    looked.clear()
    lake.codes("d@c")
    assert looked == []
    lake.create_mask("another", "position > 1")
    lake.codes("d@c")
    assert {"codes", "rowsets", "shards"} <= {*looked}


def test_reader__sees_what_was_committed_since(lake: Lake) -> None:
    with closing(Lake.open(lake.root)) as other:
        rowset = other.tensor("t:float32").rowset
        before = lake.newest_snapshot()
        with other.create_tensor("new", rowset=rowset.name, width=2, dtype="float32") as writer:
            writer.append(lake.tensor("t:float32")[:][:, :2])
        assert lake.tensor("new").sealed
        with (
            closing(lake.at(before)) as past,
            pytest.raises(NotFoundError, match="no tensor 'new'"),
        ):
            past.tensor("new")


def test_standing__is_at_one_snapshot_while_others_commit(lake: Lake) -> None:
    reading = lake.reading
    query = "SELECT mask FROM masks WHERE mask = $mask"
    with closing(Lake.open(lake.root)) as other, reading.standing():
        assert reading.facts("masks", query, mask="late") == []
        other.create_mask("late", "position > 1")
        assert reading.facts("masks", query, mask="late") == []
        # Another thread stands on its own, at what is newest.
        found: list[object] = []
        thread = threading.Thread(
            target=lambda: found.extend(reading.facts("masks", query, mask="late"))
        )
        thread.start()
        thread.join()
        assert found == [{"mask": "late"}]
    assert reading.facts("masks", query, mask="late") == [{"mask": "late"}]


def test_facts__of_a_question_that_failed_are_asked_again(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = lake.reading._facts
    with monkeypatch.context() as patch:
        patch.setattr(facts, "_asked", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            lake.tensor("t:float32")
    assert lake.tensor("t:float32").sealed


def test_facts__are_asked_anew_after_close(lake: Lake, asked: list[str]) -> None:
    """A restore, for which a lake is closed, may bring another snapshot to the same number."""
    first = lake.tensor("t:float32")
    lake.close()
    begun = len(asked)
    assert lake.tensor("t:float32") == first
    assert [query for query in asked[begun:] if "FROM tensors" in query]


def test_standing__begins_where_a_transaction_was_left_open(lake: Lake) -> None:
    """As by Ctrl-C between two of its statements."""
    lake.reading.connection().execute("BEGIN")
    assert lake.tensor("t:float32").sealed
    lake.create_mask("late", "position > 1")
    assert "late" in lake.mask("late").name


def test_facts__of_a_table_that_is_not_there_are_none(lake: Lake) -> None:
    """As of an older snapshot, from before there was the table."""
    assert lake.reading.facts("no_such_table", "SELECT 1", name="x") == []


def test_source__is_the_files_that_may_hold_what_is_wanted(lake: Lake) -> None:
    reading = lake.reading
    within: dict[str, Bounds] = {"corpus": ("c", "c"), "document": (1, 1)}

    def texts(source: str) -> list[object]:
        query = f"SELECT text FROM {source} WHERE corpus = 'c' ORDER BY document"
        return reading.connection().execute(query).fetchall()

    files = reading.source("documents", "text", **within)
    assert files.startswith("read_parquet(")
    assert texts(files) == texts("documents")
    assert reading.source("documents", "text", corpus=("x", "x")) == "documents"  # in no file

    with closing(lake._catalog._attach(read_only=False)) as writer:
        writer.execute("DELETE FROM documents WHERE document = 1")  # a list of what is gone
        assert reading.source("documents", "text", **within) == "documents"
        left = texts("documents")
        writer.execute("ALTER TABLE masks ADD COLUMN why VARCHAR")
        assert reading.source("masks", "mask").startswith("read_parquet(")
        assert reading.source("masks", "mask", "why") == "masks"
    assert len(left) == len(texts(files)) - 1


@pytest.mark.parametrize("folder", ["corpus=other/codes=other", "la[k]e", "la?e", "it's"])
def test_source__is_of_the_lakes_own_files_wherever_it_is(
    planted: Planted, tmp_path: Path, folder: str
) -> None:
    with closing(Lake.open(planted.root)) as lake:
        right = lake.contexts("d@c", 17), lake.codes("d@c").postings(17)
    (tmp_path / "laXe").mkdir()  # which a wildcard in the path of another would mean, too
    root = shutil.copytree(planted.root, tmp_path / folder / "lake")
    for verify in ("never", "always"):
        with closing(Lake.open(root, verify=verify)) as lake:
            assert right[0] == lake.contexts("d@c", 17)
            assert right[1].equals(lake.codes("d@c").postings(17))


def test_close__waits_for_a_commit_of_another_thread(lake: Lake) -> None:
    lake.create_mask("one", "position > 1")  # there is a connection that writes
    ended, held = threading.Event(), threading.Event()

    def look(_: Transaction) -> None:
        held.set()
        time.sleep(0.2)
        ended.set()

    thread = threading.Thread(target=lambda: lake._catalog.examine(look))
    thread.start()
    held.wait(60)
    lake.close()
    assert ended.is_set()
    thread.join()


def test_lake__is_made_where_a_folder_is_called_as_a_column(tmp_path: Path) -> None:
    with closing(Lake.create(tmp_path / "corpus=other" / "mask=other" / "lake")) as lake:
        lake.create_corpus("c", [Document("d", "text")])
        lake.create_mask("m", "position > 1")
        assert lake.sql("SELECT corpus FROM documents").rows() == [("c",)]
        assert ("m",) in lake.sql("SELECT mask FROM masks").rows()
        assert [*lake.verify()] == []
