"""What we write into DuckLake's own tables is what DuckLake would have written."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from actlake.storage import Lake
from actlake.storage.appending import Appender
from actlake.storage.errors import CorruptError
from actlake.storage.fields import arrow_schema
from actlake.storage.known_tables import META
from actlake.storage.table_files import live_files, swap_files
from actlake.storage.transaction import Transaction

TABLES = ("tokens", "labels", "feature_statistics", "postings", "runs")
"""Of every type that columns have, and one whose texts are not told."""
FACTS = {
    "ducklake_snapshot": "* EXCLUDE (snapshot_time)",
    "ducklake_snapshot_changes": "*",
    "ducklake_data_file": "* EXCLUDE (path), length(path)",
    "ducklake_file_column_stats": "*",
    "ducklake_table_stats": "*",
    "ducklake_delete_file": "* EXCLUDE (path, file_size_bytes, footer_size)",
}
"""All that the catalog says, but for random names and the time."""
RANGES = "SELECT * FROM {}.ducklake_table_column_stats ORDER BY table_id, column_id"


Steps = list[list[tuple[str | None, float | None]]]
"""Texts and numbers that are committed together."""


class AppendingTests:
    """With the fixture ``pair``, the folders of two equal, empty lakes."""

    @pytest.fixture
    def lakes(self, pair: tuple[Path, Path]) -> Iterator[tuple[Lake, Lake]]:
        """One that appends, and one in which DuckLake does it."""
        with closing(Lake.open(pair[0])) as ours, closing(Lake.open(pair[1])) as theirs:
            theirs._catalog._writing()
            appender = theirs._catalog._appender
            setattr(appender, "append", lambda *_: None)  # noqa: B010 - for mypy it is a method
            yield ours, theirs

    def test_append__leaves_the_catalog_that_ducklake_would(
        self, lakes: tuple[Lake, Lake], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        appended = _counted(monkeypatch)
        random = np.random.default_rng(0)
        commits = [[table] for table in TABLES]  # DuckLake's own, which learns their columns
        commits += [[table] for table in TABLES] + [["tokens", "labels", "tokens"], list(TABLES)]
        for tables in commits:
            rows = [(table, any_rows(table, random)) for table in tables]
            for lake in lakes:
                append_rows(lake, rows)
        assert len(appended) == len(commits) - len(TABLES)
        ours, theirs = lakes
        for table, columns in FACTS.items():
            query = f"SELECT {columns} FROM {META}.{table} ORDER BY ALL"
            for a, b in zip(_asked(ours, query), _asked(theirs, query), strict=True):
                assert a == b, table
        _same_ranges(ours, theirs)
        for table in TABLES:
            query = f"SELECT * FROM {table} ORDER BY ALL"
            np.testing.assert_equal(_asked(ours, query), _asked(theirs, query))

    def test_ranges_of_tables__leave_no_row_out_whoever_commits(
        self, lakes: tuple[Lake, Lake]
    ) -> None:
        """DuckLake alone takes the range of the next file, once one told none, for that of all."""
        own = arrow_schema("labels")
        long, nan = "q" * 5000, float("nan")
        first: Steps = [
            [(None, None)],
            [(long, nan), ("b" + long, 1.0)],
            [("y", 9.0)],
            [("m", 3.0)],
        ]
        rest: Steps = [[("m", 3.0)], [("n", -2.0), ("z" * 5000, nan)], [("c", 4.0)], [(None, 5.0)]]
        steps = first + rest
        for lake in lakes:
            for number, values in enumerate(steps):
                rows: list[dict[str, Any]] = [
                    {"corpus": "c", "label": "x", "document": number, "value_text": t}
                    | {"value_real": v}
                    for t, v in values
                ]
                if number % 3:
                    append_rows(lake, [("labels", pa.Table.from_pylist(rows, own))])
                else:
                    for row in rows:
                        columns = ", ".join(row)
                        values_of = ", ".join(f"${name}" for name in row)
                        insert = f"INSERT INTO labels ({columns}) VALUES ({values_of})"
                        insertion = partial(Transaction.execute, statement=insert, **row)
                        lake._catalog.commit(insertion, "x")
                put = [one for those in steps[: number + 1] for one in those]
                for text in {t for t, _ in put if t is not None}:
                    query = "SELECT count(*) FROM labels WHERE value_text = $text"
                    found = lake._connection().execute(query, {"text": text}).fetchall()
                    assert found == [(sum(t == text for t, _ in put),)], text[:9]
                reals = sorted(v for _, v in put if v is not None and v == v)
                query = "SELECT value_real FROM labels WHERE NOT isnan(value_real) ORDER BY ALL"
                assert _asked(lake, query) == [(one,) for one in reals]
                documents = _asked(lake, "SELECT document FROM labels ORDER BY label, document")
                assert documents == [(at,) for at in range(number + 1) for _ in steps[at]]

    def test_append__of_a_table_unlike_those_before_is_left_to_ducklake(
        self, lakes: tuple[Lake, Lake], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        appended = _counted(monkeypatch)
        lake, random = lakes[0], np.random.default_rng(1)
        append_rows(lake, [("postings", any_rows("postings", random))])
        assert appended == []
        append_rows(lake, [("postings", any_rows("postings", random))])
        assert len(appended) == 1
        append_rows(
            lake,
            [("tokens", any_rows("tokens", random)), ("postings", any_rows("postings", random))],
        )
        assert len(appended) == 1
        assert _asked(lake, "SELECT count(*) > 0 FROM tokens") == [(True,)]

    def test_append__in_a_catalog_of_another_version_is_left_to_ducklake(
        self, lakes: tuple[Lake, Lake], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("actlake.storage.appending.VERSION", "1.1")
        appended = _counted(monkeypatch)
        lake, random = lakes[0], np.random.default_rng(2)
        for _ in range(2):
            append_rows(lake, [("postings", any_rows("postings", random))])
        assert appended == []

    def test_append__after_others_have_changed_the_table(self, lakes: tuple[Lake, Lake]) -> None:
        """Deleted rows stay deleted, and a column that came since is NULL in what is older."""
        lake, random = lakes[0], np.random.default_rng(3)
        for _ in range(2):
            append_rows(lake, [("postings", any_rows("postings", random))])
        with closing(Lake.open(lake.root)) as other:
            other._catalog.commit(lambda now: now.execute("DELETE FROM postings"), "x")
            other._catalog.commit(
                lambda now: now.execute("ALTER TABLE labels ADD COLUMN more INTEGER"), "x"
            )
        rows = any_rows("postings", random)
        append_rows(lake, [("postings", rows)])
        assert _asked(lake, "SELECT count(*) FROM postings") == [(len(rows),)]
        ends = "SELECT count(*), max(row_id_start) FROM {}.ducklake_data_file WHERE table_id = {}"
        [(table,)] = _asked(
            lake, f"SELECT table_id FROM {META}.ducklake_table WHERE table_name = 'postings'"
        )
        files, start = _asked(lake, ends.format(META, table))[0]
        assert (files, start) == (3, 2 * len(rows))

    def test_replace__leaves_the_catalog_that_ducklake_would(
        self, lakes: tuple[Lake, Lake], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        appended = _counted(monkeypatch)
        random = np.random.default_rng(6)
        for table in ("labels", *["postings"] * 5, "labels"):
            rows = any_rows(table, random)
            for lake in lakes:
                append_rows(lake, [(table, rows)])
        for lake in lakes:  # some rows of a file that is replaced, all of one that is not
            _change(lake, "DELETE FROM postings WHERE row % 5 = 0 AND rowid < 36")
            _change(lake, "DELETE FROM postings WHERE rowid >= 144")
        before = len(appended)
        for lake in lakes:
            _rewrite(lake, "postings", 3)
        assert len(appended) == before + 1
        ours, theirs = lakes
        for table, columns in FACTS.items():
            query = f"SELECT {columns} FROM {META}.{table} ORDER BY ALL"
            for a, b in zip(_asked(ours, query), _asked(theirs, query), strict=True):
                assert a == b, table
        _same_ranges(ours, theirs, known=5)
        for table in ("postings", "labels"):
            for at in (f" AT (VERSION => {ours.newest_snapshot() - 1})", ""):
                query = f"SELECT * FROM lake.{table}{at} ORDER BY ALL"
                np.testing.assert_equal(_asked(ours, query), _asked(theirs, query))
        with pytest.raises(CorruptError, match=r"of 1 files of postings .* 0 are there"):
            _rewrite(ours, "postings", 1, gone=True)
        assert _asked(ours, query) == _asked(theirs, query)

    def test_ranges__leave_out_no_file_that_may_hold_the_rows(
        self, lakes: tuple[Lake, Lake]
    ) -> None:
        lake, random = lakes[0], np.random.default_rng(4)
        files: list[tuple[int, pa.Table]] = []
        for _ in range(6):
            rows = any_rows("postings", random)
            append_rows(lake, [("postings", rows)])
            [(number,)] = _asked(lake, f"SELECT max(data_file_id) FROM {META}.ducklake_data_file")
            files.append((number, rows))
        names = sorted({name for _, rows in files for name in rows["codes"].to_pylist()})

        def look(now: Transaction) -> None:
            assert now.appender is not None
            assert now.appender.next_file == files[-1][0] + 1
            left_out = 0
            for name in (*names, "", "é"):
                for since in (0, files[3][0], files[-1][0] + 1):
                    found = now.appender.ranges(
                        "postings", "row", where=("codes", name), since=since
                    )
                    sought = [rows for number, rows in files if number >= since]
                    right = [
                        (str(min(values)), str(max(values)))
                        for rows in sought
                        if name in rows["codes"].to_pylist() and (values := rows["row"].to_pylist())
                    ]
                    assert Counter(right) <= Counter(found)
                    left_out += len(sought) - len(found)
            assert left_out > 0

        lake._catalog.commit(look, "x")


def _change(lake: Lake, statement: str) -> None:
    lake._catalog.commit(lambda now: now.execute(statement), "x")


def _rewrite(lake: Lake, table: str, count: int, *, gone: bool = False) -> None:
    """Put one file in the place of the first ``count`` of a table."""

    def rows(query: str, **parameters: object) -> list[Any]:
        return lake._connection().execute(query, parameters or None).fetchall()

    old = live_files(rows, table)[:count]
    paths = [lake.store.uri(lake.root / one.path) for one in old]
    query = f"SELECT * FROM {table} WHERE filename IN (SELECT unnest($paths)) ORDER BY rowid"
    kept = lake._connection().execute(query, {"paths": paths}).to_arrow_table()
    staged = lake._catalog.stage(table, kept.cast(arrow_schema(table)))
    if gone:
        old = [replace(one, path=f"{one.path}x") for one in old]

    def change(now: Transaction) -> None:
        swap_files(lake.store, now, table, old, [staged], sum(one.rows for one in old))

    lake._catalog.commit(change, "x", staged=[staged])


def append_rows(lake: Lake, rows: list[tuple[str, pa.Table]]) -> None:
    staged = [lake._catalog.stage(table, those) for table, those in rows]

    def change(now: Transaction) -> None:
        for one in staged:
            now.register(one)

    lake._catalog.commit(change, "message", staged=staged)


def _counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The snapshots that are made by appending, from now on."""
    snapshots: list[int] = []
    append = Appender.append

    def counting(self: Appender, *arguments: Any) -> int | None:
        made = append(self, *arguments)
        snapshots.extend([] if made is None else [made])
        return made

    monkeypatch.setattr(Appender, "append", counting)
    return snapshots


def _asked(lake: Lake, query: str) -> list[tuple[Any, ...]]:
    return lake._connection().execute(query).fetchall()


def _same_ranges(ours: Lake, theirs: Lake, known: int = 30) -> None:
    """What the catalogs say of all values of a column."""
    mine, others = (_asked(lake, RANGES.format(META)) for lake in (ours, theirs))
    assert mine == others
    assert sum(lowest is not None for *_, lowest, _, _ in mine) > known


def any_rows(table: str, random: np.random.Generator) -> pa.Table:
    """Three dozen rows of any values, also NULL and NaN where columns have them."""
    columns = []
    for field in arrow_schema(table):
        values = _values(field.type, random)
        if field.nullable:
            values = [None if random.random() < 0.3 else one for one in values]
        columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=arrow_schema(table))


def _values(kind: pa.DataType, random: np.random.Generator) -> list[Any]:
    size = 36
    if pa.types.is_string(kind):
        words = ["a", "Z", "é", "日本", "'", "a b", "longer than what is kept " * 3, "10", "9"]
        return [words[at] for at in random.integers(len(words), size=size)]
    if pa.types.is_boolean(kind):
        return [bool(one) for one in random.integers(2, size=size)]
    if pa.types.is_timestamp(kind):
        return [datetime.fromtimestamp(float(one)) for one in random.uniform(0, 2e9, size)]
    if pa.types.is_integer(kind):
        return [int(one) for one in random.integers(-50, 50, size)]
    found = [float(one) for one in random.normal(size=size) * 10.0 ** random.integers(-30, 30)]
    return [*found[2:], 0.0, -0.0]
