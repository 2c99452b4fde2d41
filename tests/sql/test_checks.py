"""Checks: silent on a sound lake, and each finds the fault that was planted for it."""

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pytest

from actlake import sql
from actlake.storage.fields import TABLES
from actlake.storage.lake import Lake
from tests.sql.conftest import CODES, ROWS

LAST = len(ROWS) - 1
TENSOR = "(SELECT id FROM tensors WHERE tensor = 'toy:resid@tiny')"
CODES_ID = f"(SELECT id FROM codes WHERE codes = '{CODES}')"
ROWSET_ID = "(SELECT id FROM rowsets WHERE rowset = 'tiny@words')"
ALL, CAT = f"{CODES}, mask all", f"codes = '{CODES}' AND mask = 'all' AND feature = 1"

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "documents_disagree": [
        ("UPDATE corpora SET documents = 5", "tiny", "has 5 documents and the table has 4"),
        ("DELETE FROM documents WHERE document = 3", "tiny", "has 4 documents and the table has 3"),
        ("UPDATE documents SET document = 1 WHERE document = 2", "tiny", "of which 3 differ"),
        ("UPDATE documents SET document = document + 1", "tiny", "from 1 to 4"),
        ("UPDATE documents SET source_id = 'doc-0'", "tiny", "4 documents and 1 source ids"),
    ],
    "documents_missing": [
        ("UPDATE tokens SET document = 9 WHERE document = 3", "tiny@documents", "the first is 9"),
        ("UPDATE tokens SET document = 9 WHERE document = 3", "tiny@words", "1 documents are not"),
        ("UPDATE labels SET document = 7 WHERE label = 'year'", "tiny, label year", "first is 7"),
    ],
    "examples_disagree": [
        (
            f"UPDATE feature_examples SET value = value / 2 WHERE {CAT} AND rank = 2",
            ALL,
            "1 examples are not postings",
        ),
        (
            f'UPDATE feature_examples SET "row" = 0 WHERE {CAT} AND rank = 2',
            ALL,
            "1 examples are not postings",
        ),
        (
            f"UPDATE feature_examples SET rank = 3 - rank WHERE {CAT}",
            ALL,
            "1 examples are stronger than the one before",
        ),
        (
            f"UPDATE feature_examples SET rank = 3 - rank WHERE {CAT}",
            ALL,
            "1 features have a first example that is not their max_active",
        ),
    ],
    "keys_stored_twice": [
        (f"INSERT INTO {name} FROM {name} LIMIT 1", owner, f"1 keys have several rows in {name}")
        for name, owner in {
            "feature_statistics": CODES,
            "feature_histograms": CODES,
            "feature_examples": CODES,
            "feature_tokens": CODES,
            "evaluations": "topk:toy:resid",
            "vocabulary": "words",
        }.items()
    ]
    + [
        (
            "INSERT INTO partials SELECT 'c', 'all', 'moments', 0, '1', path, 1, '', '' "
            "FROM (VALUES ('a'), ('b')) AS files (path)",
            "c",
            "in partials",
        ),
        (
            "INSERT INTO training_logs SELECT 'd', 10, 100, 'loss', value, '' "
            "FROM (VALUES (1.0), (2.0)) AS losses (value)",
            "d",
            "in training_logs",
        ),
    ],
    "names_taken_twice": [
        (
            f"INSERT INTO {name} FROM {name} WHERE {column} = '{owner}'",
            owner,
            f"stands for 2 things as a {kind}",
        )
        for name, column, kind, owner in (
            ("models", "model", "model", "toy"),
            ("corpora", "corpus", "corpus", "tiny"),
            ("rowsets", "rowset", "rowset", "tiny@words"),
            ("tensors", "tensor", "tensor", "toy:resid@tiny"),
            ("dictionaries", "dictionary", "dictionary", "topk:toy:resid"),
            ("codes", "codes", "codes", CODES),
            ("masks", "mask", "mask", "not_first"),
        )
    ]
    + [
        ("UPDATE tensors SET id = 'same'", "same", "2 things as a id"),
        ("UPDATE runs SET run = 'same'", "same", "8 things as a run"),
    ],
    "postings_disagree": [
        (
            f"DELETE FROM postings WHERE codes = '{CODES}' AND feature = 1",
            CODES,
            "is sealed with 24 values and has 22 postings",
        ),
        ("INSERT INTO postings FROM postings", CODES, "has 48 postings"),
        ("DELETE FROM postings", CODES, "has 0 postings"),
        ("UPDATE codes SET nnz = NULL", CODES, "no count of values"),
        (
            f'UPDATE postings SET "row" = {LAST + 1} WHERE feature = 2',
            CODES,
            "1 postings name a row",
        ),
        ('UPDATE postings SET "row" = -1 WHERE feature = 2', CODES, "1 postings name a row"),
        ("UPDATE postings SET feature = 6 WHERE feature = 2", CODES, "1 postings name a feature"),
        ("UPDATE postings SET value = 0 WHERE feature = 2", CODES, "1 postings have a value"),
        ("UPDATE postings SET value = 'nan' WHERE feature = 2", CODES, "1 postings have a value"),
        ("UPDATE postings SET value = 'inf' WHERE feature = 2", CODES, "1 postings have a value"),
    ],
    "references_dangling": [
        (f"UPDATE {name} SET {column} = 'gone'", owner, f"{name} name the {kind} gone, which")
        for name, column, kind, owner in (
            ("documents", "corpus", "corpus", "gone"),
            ("labels", "corpus", "corpus", "gone"),
            ("rowsets", "corpus", "corpus", "tiny@words"),
            ("tokens", "rowset", "rowset", "gone"),
            ("tensors", "rowset", "rowset", "toy:resid@tiny"),
            ("dictionaries", "tensor", "tensor", "topk:toy:resid"),
            ("codes", "dictionary", "dictionary", CODES),
            ("codes", "tensor", "tensor", CODES),
            ("codes", "rowset", "rowset", CODES),
            ("postings", "codes", "codes", "gone"),
            ("feature_statistics", "codes", "codes", "gone"),
            ("feature_statistics", "mask", "mask", CODES),
            ("feature_histograms", "codes", "codes", "gone"),
            ("feature_histograms", "mask", "mask", CODES),
            ("feature_examples", "codes", "codes", "gone"),
            ("feature_examples", "mask", "mask", CODES),
            ("feature_tokens", "codes", "codes", "gone"),
            ("feature_tokens", "mask", "mask", CODES),
            ("evaluations", "dictionary", "dictionary", "gone"),
            ("evaluations", "tensor", "tensor", "topk:toy:resid"),
            ("evaluations", "mask", "mask", "topk:toy:resid"),
        )
    ]
    + [
        (
            "UPDATE tensors SET model = 'gone', side = 'output'",
            "toy:resid@tiny",
            "tensors name the model gone",
        ),
        (
            "INSERT INTO partials VALUES ('gone', 'gone', 'moments', 0, '1', '', 1, '', '')",
            "gone",
            "partials name the codes gone",
        ),
        (
            "INSERT INTO partials VALUES ('gone', 'gone', 'moments', 0, '1', '', 1, '', '')",
            "gone",
            "partials name the mask gone",
        ),
        (
            "INSERT INTO training_logs VALUES ('gone', 10, 100, 'loss', 1.0, '')",
            "gone",
            "training_logs name the dictionary gone",
        ),
    ],
    "rows_disagree": [
        ("UPDATE tensors SET rows = 17 WHERE rows = 18", "toy:resid@tiny", "has 17 rows and its"),
        ("UPDATE codes SET rows = 17 WHERE rows = 18", CODES, "has 17 rows and its rowset"),
        (
            f"DELETE FROM shards WHERE owner = {TENSOR} AND shard = 0",
            "toy:resid@tiny",
            "is sealed with 18 rows and its shards hold 16",
        ),
        (f"DELETE FROM shards WHERE owner = {CODES_ID}", CODES, "its shards hold 0"),
    ],
    "runs_disagree": [
        ("UPDATE runs SET run = 'r', ended = NULL", "r", "is completed and has no end"),
        ("UPDATE runs SET run = 'r', ended = '2001-01-01'", "r", "ended before it started"),
        (
            "UPDATE runs SET run = 'r', snapshot_before = 9, snapshot_after = 9",
            "r",
            "wrote snapshot 9, not after 9",
        ),
        ("UPDATE runs SET run = 'r', state = 'lost'", "r", "has the state lost"),
    ],
    "runs_missing": [
        (f"UPDATE {name} SET run = 'gone'", owner, f"rows of {name} were written by run gone")
        for name, owner in {
            "models": "toy",
            "corpora": "tiny",
            "rowsets": "tiny@words",
            "tensors": "toy:resid@tiny",
            "dictionaries": "topk:toy:resid",
            "codes": CODES,
            "feature_statistics": CODES,
            "evaluations": "topk:toy:resid",
        }.items()
    ]
    + [
        ("UPDATE shards SET run = 'gone', owner = 'o'", "o", "rows of shards"),
        (
            "INSERT INTO partials VALUES ('c', 'all', 'moments', 0, '1', '', 1, '', 'gone')",
            "c",
            "rows of partials",
        ),
        (
            "INSERT INTO training_logs VALUES ('d', 10, 100, 'loss', 1.0, 'gone')",
            "d",
            "rows of training_logs",
        ),
    ],
    "shards_committed_twice": [
        (
            "UPDATE shards SET owner = 'o', shard = 3 WHERE \"array\" = 'rows' AND shard < 2",
            "o",
            "shard 3 of rows has 4 receipts",
        ),
    ],
    "shards_missing": [
        (
            f"DELETE FROM shards WHERE owner = {TENSOR} AND shard IN (3, 5)",
            "toy:resid@tiny",
            "2 shards of rows are missing, the first is shard 3",
        ),
        (
            f"DELETE FROM shards WHERE owner = {ROWSET_ID} AND \"array\" = 'token_id'",
            "tiny@words",
            "9 shards of token_id are missing",
        ),
        (
            f"DELETE FROM shards WHERE owner = {CODES_ID} AND \"array\" = 'postings' AND shard = 8",
            CODES,
            "1 shards of postings are missing, the first is shard 8",
        ),
    ],
    "shards_off_grid": [
        (
            f"UPDATE shards SET row_start = 3 WHERE owner = {TENSOR} AND shard = 2",
            "toy:resid@tiny",
            "shard 2 of rows has rows 3 to 6 instead of 4 to 6",
        ),
        (
            f"UPDATE shards SET row_stop = 7 WHERE owner = {TENSOR} AND shard = 2",
            "toy:resid@tiny",
            "shard 2 of rows has rows 4 to 7 instead of 4 to 6",
        ),
        (
            f"UPDATE shards SET shard = 9, row_start = 18, row_stop = 18 WHERE owner = {TENSOR} "
            "AND shard = 2",
            "toy:resid@tiny",
            "is no shard of the grid",
        ),
        (
            f"UPDATE shards SET shard = -1, row_start = -2, row_stop = 0 WHERE owner = {ROWSET_ID} "
            "AND shard = 2 AND \"array\" = 'window'",
            "tiny@words",
            "shard -1 of window has rows -2 to 0 and is no shard of the grid",
        ),
        (
            f"UPDATE shards SET row_stop = 5 WHERE owner = {CODES_ID} AND shard = 2 "
            "AND \"array\" = 'values'",
            CODES,
            "shard 2 of values has rows 4 to 5",
        ),
    ],
    "spans_outside_text": [
        ('UPDATE tokens SET char_stop = 99 WHERE "row" = 2', "tiny@words", "the first is row 2"),
        ('UPDATE tokens SET char_start = -1 WHERE "row" = 2', "tiny@words", "1 rows have"),
        (
            'UPDATE tokens SET char_start = char_stop + 1 WHERE "row" = 2',
            "tiny@words",
            "1 rows have",
        ),
        (
            "UPDATE labels SET char_start = 0 WHERE label = 'year' AND document = 2",
            "tiny, label year",
            "1 spans are not inside their document, the first is of document 2",
        ),
        (
            "UPDATE labels SET char_start = 0, char_stop = 99 WHERE label = 'party'",
            "tiny, label party",
            "3 spans",
        ),
        (
            "UPDATE labels SET char_start = 3, char_stop = 2 WHERE label = 'party'",
            "tiny, label party",
            "3 spans",
        ),
    ],
    "statistics_disagree": [
        (
            "DELETE FROM postings WHERE feature = 2",
            ALL,
            "1 features have n_fires that their postings do not give",
        ),
        (
            # Under another mask fewer rows may fire than there are postings, but never more.
            "DELETE FROM postings WHERE feature = 2",
            f"{CODES}, mask no_special",
            "1 features have n_fires that their postings do not give",
        ),
        (
            f"DELETE FROM feature_statistics WHERE {CAT}",
            ALL,
            "5 features have statistics instead of 6",
        ),
        (
            f"UPDATE feature_statistics SET n_rows = 17 WHERE {CAT}",
            ALL,
            "statistics count 17 to 18 rows, and the codes have 18",
        ),
        (
            f"UPDATE feature_statistics SET density = density * 2 WHERE {CAT}",
            ALL,
            "1 features have a density that is not n_fires / n_rows",
        ),
        (
            f"UPDATE feature_statistics SET n_fires = n_fires + 1 WHERE {CAT}",
            ALL,
            "1 features have n_fires that their postings",
        ),
        (
            f"UPDATE feature_histograms SET count = count + 1 WHERE {CAT}",
            ALL,
            "1 features have n_fires that their histogram",
        ),
    ],
    "tokens_disagree": [
        (
            "UPDATE rowsets SET rows = 5 WHERE rows = 4",
            "tiny@documents",
            "has 5 rows and tokens has 4",
        ),
        (
            "DELETE FROM tokens WHERE rowset = 'tiny@words'",
            "tiny@words",
            "18 rows and tokens has 0",
        ),
        (
            f'UPDATE tokens SET "row" = 3 WHERE "row" = {LAST}',
            "tiny@words",
            "of which 17 differ, from row 0 to 16",
        ),
        (
            'UPDATE tokens SET "row" = "row" + 1 WHERE rowset = \'tiny@words\'',
            "tiny@words",
            "from row 1 to 18",
        ),
    ],
}


@pytest.fixture(scope="module")
def tables(tiny: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """The tables of the lake in memory, where a fault can be planted and rolled back."""
    with duckdb.connect() as connection:
        for name in TABLES:
            held = tiny.table(name).collect().to_arrow()
            connection.register("held", held)
            connection.execute(f"CREATE TABLE {name} AS SELECT * FROM held")
        yield connection


@contextmanager
def rolled_back(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


def found(connection: duckdb.DuckDBPyConnection, check: str) -> list[tuple[str, str]]:
    rows = connection.execute(sql.text("checks", check)).fetchall()
    return [(str(owner), str(what)) for owner, what in rows]


@pytest.mark.parametrize("check", sql.names("checks"))
def test_check__is_silent_on_a_sound_lake(check: str, tables: duckdb.DuckDBPyConnection) -> None:
    assert found(tables, check) == []


@pytest.mark.parametrize("check", sql.names("checks"))
def test_check__is_silent_on_an_empty_lake(check: str, tables: duckdb.DuckDBPyConnection) -> None:
    with rolled_back(tables):
        for name in TABLES:
            tables.execute(f"DELETE FROM {name}")
        faults = found(tables, check)
    assert faults == []


@pytest.mark.parametrize(
    ("check", "break_it", "owner", "what"),
    [(check, *fault) for check, faults in FAULTS.items() for fault in faults],
)
def test_check__finds_what_was_planted(
    check: str, break_it: str, owner: str, what: str, tables: duckdb.DuckDBPyConnection
) -> None:
    with rolled_back(tables):
        tables.execute(break_it)
        faults = found(tables, check)
    assert [one for one in faults if one[0] == owner and what in one[1]], faults
    assert all("\n" not in text for _, text in faults)


def test_every_check__has_a_planted_fault() -> None:
    assert sorted(FAULTS) == sql.names("checks")


@pytest.mark.parametrize("array", ["indptr", "indices", "values", "postings"])
def test_shards_missing__finds_part_of_a_shard_also_before_it_is_sealed(
    array: str, tables: duckdb.DuckDBPyConnection
) -> None:
    with rolled_back(tables):
        tables.execute("UPDATE codes SET state = 'planned'")
        tables.execute(f"DELETE FROM shards WHERE owner = {CODES_ID} AND shard > 4")
        quiet = found(tables, "shards_missing")
        tables.execute(
            f'DELETE FROM shards WHERE owner = {CODES_ID} AND shard = 4 AND "array" = $array',
            {"array": array},
        )
        faults = found(tables, "shards_missing")
    assert quiet == []
    assert faults == [(CODES, f"1 shards of {array} are missing, the first is shard 4")]


def test_references_dangling__lets_a_given_tensor_name_any_model(
    tables: duckdb.DuckDBPyConnection,
) -> None:
    with rolled_back(tables):
        tables.execute("DELETE FROM models")
        faults = found(tables, "references_dangling")
    assert faults == []


def test_verify__runs_the_checks_on_the_lake_itself(copied: Lake) -> None:
    assert list(copied.verify()) == []
    with copied.run("test", {"key": "break"}, {}) as run:
        run.commit(lambda one: one.execute("DELETE FROM postings WHERE feature = 2"), "break")
    faults = [(one.path, one.owner) for one in copied.verify()]
    assert ("check postings_disagree", CODES) in faults
    assert ("check statistics_disagree", ALL) in faults
