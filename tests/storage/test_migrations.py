"""Lakes come to today's tables by themselves, and newer ones are refused."""

import hashlib
from pathlib import Path

import pytest

from actlake import sql
from actlake.storage import Lake
from actlake.storage.errors import FormatError
from actlake.storage.migrations import applied, migrate
from tests.storage.conftest import content


def test_create__records_every_schema_file(bench: Lake) -> None:
    rows = bench.table("migrations").sort("version").collect()
    files = sql.names("schema")
    assert rows["version"].to_list() == [*range(1, len(files) + 1)]
    assert rows["name"].to_list() == files
    for name, hash_ in rows.select("name", "sha256").iter_rows():
        assert hash_ == hashlib.sha256(sql.text("schema", name).encode()).hexdigest()
    assert applied(bench._connection()) == len(files)


def test_migrate__does_nothing_twice(bench: Lake) -> None:
    before = content(bench)
    migrate(bench._catalog)
    assert content(bench) == before


def test_open__brings_an_older_lake_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sql.names("schema")
    older = [file for file in files if int(file[:4]) <= 16]
    names = sql.names
    with monkeypatch.context() as patch:
        patch.setattr(sql, "names", lambda kind: older if kind == "schema" else names(kind))
        Lake.create(tmp_path / "lake").close()

    lake = Lake.open(tmp_path / "lake")
    before = lake.at(lake.newest_snapshot() - 1)
    assert before.table("runs").collect().is_empty()
    assert before.table("tokens_text").collect().is_empty()  # a view over tables of then
    before.close()

    assert lake.table("migrations").collect()["name"].sort().to_list() == files
    assert lake.table("feature_summary").collect().is_empty()  # a view over new tables
    assert sorted(lake.table("masks").collect()["mask"]) == ["all", "no_special", "not_first"]
    assert [*lake.verify()] == []
    lake.close()


def test_open__refuses_the_tables_of_a_newer_version(fresh: Lake) -> None:
    fresh._catalog.commit(
        lambda now: now.execute("INSERT INTO migrations VALUES (99, 'x', 'x', now(), '7.0')"), "x"
    )
    fresh.close()
    with pytest.raises(FormatError, match=r"schema 99 .* install actlake 7\.0 or newer"):
        Lake.open(fresh.root)
