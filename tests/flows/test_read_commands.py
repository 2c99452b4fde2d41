"""sql, show, ls, log and verify: readable, exact, and deaf to what the data says."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from rich.console import Console

from actlake.flows import terminal
from actlake.flows.encode import encode
from actlake.flows.read_commands import show
from actlake.flows.summarize import summarize
from actlake.storage import Document
from actlake.storage.dictionary_files import write_dictionary
from actlake.storage.example_rows import KINDS
from actlake.storage.lake import Lake
from tests.flows.commands import Cli, ok, refused
from tests.flows.found_lake import shared_found_lake  # noqa: F401 - a fixture
from tests.flows.small_lake import MASK, ROWSET, TOPK, codes_name

ESCAPE = "\x1b[31m"


def test_sql__prints_every_format(speeches: Path, cli: Cli, tmp_path: Path) -> None:
    select = "SELECT rowset, rows, rows / 7 AS part, NULL AS none FROM rowsets"
    table = ok(cli(speeches, "sql", select)).splitlines()
    assert table[0].split() == ["rowset", "rows", "part", "none"]
    rows = Lake.open(speeches).rowset(ROWSET).rows
    assert table[1].split()[:2] == [ROWSET, str(rows)]
    csv = ok(cli(speeches, "sql", select, "--format", "csv")).splitlines()
    assert csv[0] == "rowset,rows,part,none"
    assert csv[1].startswith(f"{ROWSET},{rows},")
    [line] = ok(cli(speeches, "sql", select, "--format", "json")).splitlines()
    right = {"rowset": ROWSET, "rows": rows, "part": rows / 7, "none": None}
    assert json.loads(line) == right
    for suffix in ("csv", "json", "parquet"):
        file = tmp_path / f"out.{suffix}"
        assert ok(cli(speeches, "sql", select, "-o", file)) == ""
        readers: dict[str, Callable[[Path], pl.DataFrame]] = {
            "csv": pl.read_csv,
            "json": pl.read_ndjson,
            "parquet": pl.read_parquet,
        }
        frame = readers[suffix](file)
        assert frame["rows"].to_list() == [rows]
    assert "--output" in refused(cli(speeches, "sql", select, "--format", "parquet"))
    assert "--format" in refused(cli(speeches, "sql", select, "-o", tmp_path / "out.xyz"))
    gone = tmp_path / "gone" / "out.csv"
    assert "cannot write" in refused(cli(speeches, "sql", select, "-o", gone))


def test_sql__numbers_stay_numbers_and_text_stays_text(speeches: Path, cli: Cli) -> None:
    def one(select: str, *more: str) -> Any:
        out = ok(cli(speeches, "sql", select, "--format", "json", *more))
        return json.loads(out)["x"]

    assert one("SELECT sum(x) AS x FROM (VALUES (4), (6)) AS r (x)") == 10  # 128 bits in DuckDB
    assert one("SELECT 'nan'::DOUBLE AS x") is None  # JSON has no NaN
    assert one("SELECT $a + $b AS x", "-p", "a=2", "-p", "b=.5") == 2.5
    for word in ("nan", "inf", "infinity", "1_000", "1e5x", "", "a=b"):
        assert one("SELECT $w AS x", "-p", f"w={word}") == word
    for bad in ("w", "=1", "a b=1", "seconds=3", "self=1"):
        assert "is not name=value" in refused(cli(speeches, "sql", "SELECT $w", "-p", bad))


def test_sql__knows_the_projects_queries(speeches: Path, cli: Cli) -> None:
    listed = ok(cli(speeches, "sql", "--list")).splitlines()
    assert any(line.startswith("top_features:") for line in listed)
    assert all(":" in line for line in listed)
    after = listed[[line.partition(":")[0] for line in listed].index("features_of_token") + 1]
    assert after.startswith("    -p: $codes, $mask, $text text: the token as in vocabulary")
    about = ("-p", f"codes={codes_name(TOPK)}", "-p", f"mask={MASK}")
    query = ("sql", "--query", "top_features", *about)
    found = ok(cli(speeches, *query, "-p", "by=n_fires", "-p", "order=desc", "-p", "limit=3"))
    assert len(found.splitlines()) == 4
    assert "top_features" in refused(cli(speeches, "sql", "--query", "top_feature"))
    assert refused(cli(speeches, *query)).endswith(
        "the query takes $by, $codes, $limit, $mask, $order, and there is no value for $by; give it"
    )
    for arguments in ((), ("SELECT 1", "--query", "top_features")):
        result = cli(speeches, "sql", *arguments)
        assert result.exit_code == 1
        assert "give one SELECT" in result.stderr


def test_table__wider_than_the_terminal_is_a_line_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    words = pa.table({"run": ["r" * 40, "s"], "flow": ["a\x1b[31m", None], "n": [1, 2]})
    texts = []
    for width in (60, 20):
        out = io.StringIO()
        screen = Console(file=out, width=width, highlight=False)
        monkeypatch.setattr(terminal, "console", lambda screen=screen: screen)
        terminal.print_table(words, title="runs")
        texts.append([line.rstrip() for line in out.getvalue().splitlines()])
    assert texts[0][1].split() == ["run", "flow", "n"]
    assert texts[1][:2] == ["runs", "row 1 of 2"]
    assert "".join(line.split()[-1] for line in texts[1][2:5]).count("r") >= 40
    assert [line.split() for line in texts[1][-4:]] == [
        *(["row", "2", "of", "2"], ["run", "s"], ["flow"], ["n", "2"])
    ]
    assert "\x1b" not in "".join(texts[1])


def test_ls__has_labels_and_hypotheses(found_lake: Lake, cli: Cli) -> None:
    listed = ok(cli(found_lake.root, "ls", "labels")).splitlines()
    assert ["speeches", "party", "40", "40", "2"] in [line.split() for line in listed]
    assert "party" in ok(cli(found_lake.root, "ls", "hypotheses"))


def test_sql__at_a_snapshot(speeches: Path, cli: Cli) -> None:
    count = "SELECT count(*) AS n FROM codes"
    assert ok(cli(speeches, "sql", count, "--format", "csv")).split() == ["n", "2"]
    assert ok(cli(speeches, "sql", count, "--format", "csv", "--at", 2)).split() == ["n", "0"]
    assert "9999" in refused(cli(speeches, "sql", count, "--at", 9999))


@pytest.mark.parametrize(
    "select",
    [
        "DELETE FROM runs",
        "INSERT INTO runs SELECT * FROM runs",
        "CREATE TABLE mine AS SELECT 1",
        "COPY runs TO 'out.csv'",
        "ATTACH 'other.db'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT getenv('HOME')",
        "SELECT 1; SELECT 2",
        "PRAGMA database_list",
        "INSTALL httpfs",
        "SELECT * FROM nothing",
        "SELEC 1",
        "",
    ],
)
def test_sql__that_does_more_than_ask_is_refused(
    select: str, speeches: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused(cli(speeches, "sql", select))
    assert [*tmp_path.iterdir()] == []


def test_show__prints_statistics_tokens_and_contexts(speeches: Path, cli: Cli) -> None:
    shown = ok(cli(speeches, "show", codes_name(TOPK), 0, "--limit", 3)).splitlines()
    assert shown[0].endswith(f"feature 0  mask {MASK}")
    assert "n_fires" in shown[1]
    assert "top_token_share 1" in shown[2]
    assert shown[3] == "this feature is single token"
    assert shown[4].startswith("tokens by count: war ×")
    contexts = [line for line in shown if "speech-" in line]
    assert len(contexts) == 3
    assert all(line.count("«") == 1 and "«war»" in line.replace(" war", "war") for line in contexts)
    strengths = [float(line.split()[0]) for line in contexts]
    assert strengths == sorted(strengths, reverse=True)
    [option] = [one for one in show.params if one.name == "kind"]
    assert isinstance(option.type, click.Choice)
    assert option.type.choices == KINDS
    silent = ok(cli(speeches, "show", codes_name(TOPK), 0, "--limit", 3, "--kind", "silent"))
    contexts = [line for line in silent.splitlines() if "speech-" in line]
    assert [line.split()[0] for line in contexts] == ["0.000"] * 3
    assert all(line.count("«") == 1 for line in contexts)
    assert "no feature 16; choose 0 to 15" in refused(cli(speeches, "show", codes_name(TOPK), 16))
    assert "actlake ls codes" in refused(cli(speeches, "show", "nothing", 0))
    assert "summarize" in refused(cli(speeches, "show", codes_name(TOPK), 0, "--mask", "all"))


def test_show__obeys_nothing_that_a_corpus_says(tmp_path: Path, cli: Cli) -> None:
    path = tmp_path / "lake"
    lake = Lake.create(path)
    texts = ["[red]w1[/red] \x1b[31mw2 \x07w3\x1b]0;title\x07", "w1 [/] w2\r\nw3\u202e"]
    documents = [Document(f"{ESCAPE}[bold]d{i}", text) for i, text in enumerate(texts)]
    lake.create_corpus("c", documents)
    names = [document.source_id for document in documents]
    lake.create_rowset(
        "r",
        corpus="c",
        kind="document",
        columns={"document": np.arange(2), "char_stop": np.array([len(t) for t in texts])},
    )
    with lake.create_tensor("t", rowset="r", width=3) as writer:
        writer.append(np.array([[1, 0, 2], [3, 1, 0]], np.float16))
    with lake.run("test", {}, {}) as run:
        write_dictionary(
            run,
            name="i",
            method="identity",
            tensor="t",
            n_features=3,
            width=3,
            config={"n_features": 3, "width": 3, "k": 3},
            arrays={},
            fingerprint="i",
            tables={},
        )
    summarize(lake, codes=encode(lake, dictionary="i"))
    shown = ok(cli(path, "show", "i@c", 0))
    for name in names:
        assert name.replace("\x1b", "␛") in shown
    assert "[red]w1[/red] ␛[31mw2 ␇w3␛]0;title␇" in shown
    assert not {*"\x1b\x07\u202e\r"} & {*shown}
    for select in (
        "SELECT text, source_id FROM documents",
        'SELECT 1 AS "[red]a[/red]", 2 AS "[/]"',
        "SELECT chr(27) || '[31m' AS x, [chr(27) || '[31m'] AS y",
    ):
        out = ok(cli(path, "sql", select))
        assert not {*"\x1b\x07\u202e\r"} & {*out}
        assert "[" in out
    long = ok(cli(path, "sql", f"SELECT '{'x' * 5000}' AS x"))
    assert "x" * 5000 in long  # no line is broken where nobody looks


def test_ls_and_log__tell_what_there_is(speeches: Path, cli: Cli) -> None:
    listed = ok(cli(speeches, "ls"))
    for title in ("corpora", "rowsets", "tensors", "dictionaries", "codes", "masks", "summaries"):
        assert title in listed.split()
    assert "models" not in listed.split()  # nothing of that kind
    assert ok(cli(speeches, "ls", "models")).split()[0] == "models"
    assert ok(cli(speeches, "log")).count("completed") >= 2
    assert len(ok(cli(speeches, "log", "--snapshots", "--limit", 2)).splitlines()) == 4
    assert cli(speeches, "log", "--limit", 0).exit_code == 1


def test_verify__names_what_is_broken(speeches: Path, cli: Cli, tmp_path: Path) -> None:
    assert "is as it was committed" in ok(cli(speeches, "verify"))
    lake = Path(shutil.copytree(speeches, tmp_path / "lake"))
    [tensor] = (lake / "tensors").iterdir()
    chunk = tensor / "c.3.0"
    chunk.write_bytes(chunk.read_bytes()[:-9])
    result = cli(lake, "verify")
    assert result.exit_code == 1
    [fault] = result.stdout.splitlines()
    assert f"tensors/{tensor.name}/c.3.0 (toy:resid@speeches, rows" in fault
    assert "instead of" in fault
    assert "1 fault" in result.stderr.splitlines()[-1]
    message = refused(cli(lake, "train", "toy:resid@speeches", "--method", "pca", "-k", 2))
    assert "c.3.0" in message
    assert "actlake verify" in message
