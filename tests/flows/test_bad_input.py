"""Whatever is wrong in a line is said in one line, and the lake stays as it was.

What a flow refuses ends with 1; what click finds by itself, such as a value that is no number or
no choice, ends with 2. The rows come from ``bad_values`` and from the commands themselves, so
that a parameter that is new needs a row.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import Result

from actlake.flows.command import Real, Whole
from actlake.flows.encode import encode
from actlake.flows.ingest import ingest_documents
from actlake.flows.summarize import summarize
from actlake.flows.visible import LONGEST_LINE
from actlake.storage.lake import Lake
from tests.flows.bad_files import write_bad_files
from tests.flows.bad_values import BAD, NUMBERS, WITHOUT
from tests.flows.commands import Cli
from tests.flows.good_lines import LINES, commands, lacking, line, parameters, without
from tests.flows.tiny import hashes, state

TENSOR = "tiny-llama:resid_post.1@c"
MAY_BE = {
    ("extract", "device", ""): "its rows are there, so that nothing is computed",
    ("extract", "device", "x"): "its rows are there, so that nothing is computed",
    ("extract", "revision", ""): "a folder has none",
    ("repair", "device", ""): "nothing is computed where nothing is damaged",
    ("repair", "device", "x"): "nothing is computed where nothing is damaged",
    ("pin", "why", "x"): "any words",
    ("unpin", "why", "x"): "words for which nothing is pinned",
    ("withdraw", "reason", "x"): "any words",
    ("withdraw", "document", ""): "ends with 2: a number, or with --source-id an id",
    ("withdraw", "document", "x"): "ends with 2: a number, or with --source-id an id",
    ("extract", "device", "'"): "its rows are there, so that nothing is computed",
    ("repair", "device", "'"): "nothing is computed where nothing is damaged",
    ("pin", "why", "'"): "any words",
    ("unpin", "why", "'"): "words for which nothing is pinned",
    ("withdraw", "reason", "'"): "any words",
    ("withdraw", "document", "'"): "ends with 2: a number, or with --source-id an id",
    ("export", "folder", "'"): "a folder may be called so",
    ("plot", "output", "'"): "a file may be called so",
}
"""Texts that a line may have, by command, parameter and how they begin."""


@pytest.fixture(scope="module")
def whole(
    dictionary_lake: Path, tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lake]:
    """A lake with one of each kind of thing, which every row is tried on; no row changes it."""
    folder = tmp_path_factory.mktemp("bad")
    write_bad_files(folder / "files", tiny("llama"))
    lake = Lake.open(shutil.copytree(dictionary_lake, folder / "lake"))
    summarize(lake, codes=encode(lake, dictionary="d"))
    ingest_documents(lake, corpus="c")
    lake.create_mask("nobody", "position < 0")
    rowset = lake.rowset("c@tiny-llama")
    with lake.create_tensor("wide@c", rowset=rowset.name, width=3) as writer:
        writer.append(np.zeros((rowset.rows, 3), np.float16))
    yield lake
    lake.close()


@pytest.fixture(scope="module")
def before(whole: Lake) -> dict[str, Any]:
    """What the lake holds, before and after."""
    return state(whole)


@pytest.fixture
def say(
    whole: Lake, tiny: Callable[[str], Path], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Sequence[str]], Result]:
    """Runs one line on the lake, which stays open: opening it is most of what a line costs."""
    opened = Lake.open

    def open_(path: str | Path) -> Lake:
        return whole if Path(path) == whole.root else opened(path)

    monkeypatch.setattr(Lake, "open", open_)
    places = {"folder": whole.root.parent / "files", "model": tiny("llama"), "tensor": TENSOR}

    def call(line: Sequence[str]) -> Result:
        return cli(whole.root, *(one.format(**places, lake=whole.root) for one in line))

    return call


def is_text(parameter: click.Parameter) -> bool:
    return isinstance(parameter.type, click.types.StringParamType | click.Path)


def refused(result: Result, code: int, part: str) -> str:
    """'' if the command ended so, with ``part`` in its one line; else what it did."""
    lines = result.stderr.splitlines()
    told = [one for one in lines if one.startswith("Error: ")]
    if not isinstance(result.exception, SystemExit) or result.exit_code != code:
        return f"ended with {result.exit_code}, {result.exception!r}, {lines[-1:]}"
    if len(told) != 1 or (code == 1 and lines[-1:] != told) or "Traceback" in result.output:
        return f"said {lines[:3]}"
    if part not in told[0]:
        return f"said {told[0][:300]!r}"
    if len(told[0]) > LONGEST_LINE + 10 or not told[0].isprintable():
        return f"said {len(told[0])} characters, {told[0][:100]!r}"
    return ""


def check(
    whole: Lake,
    before: dict[str, Any],
    say: Callable[[Sequence[str]], Result],
    rows: Sequence[tuple[list[str], int, str]],
) -> None:
    """Every line is refused, and the lake is what it was; failed runs may be in its log."""
    snapshot, runs = whole.newest_snapshot(), _runs(whole)
    wrong = []
    for words, code, part in rows:
        if fault := refused(say(words), code, part):
            wrong.append(f"{' '.join(words)[:200]!r} should say {part!r}: {fault}")
    assert not wrong, "\n".join(wrong)
    new = _runs(whole).items() - runs.items()
    assert {state_ for _, state_ in new} <= {"failed"}
    assert (whole.newest_snapshot() == snapshot) or new
    assert hashes(whole.root) == before["files"]
    if new:  # else the snapshot says that the tables are the same
        assert state(whole) == before


def _runs(lake: Lake) -> dict[str, str]:
    return {str(run): str(how) for run, how in lake.sql("SELECT run, state FROM runs").rows()}


def test_table__has_a_row_for_every_parameter_that_takes_text() -> None:
    assert set(LINES) == set(commands())
    for command in commands():
        named = {str(one.name) for one in parameters(command)}
        text = {str(one.name) for one in parameters(command) if is_text(one)}
        without = {name for of, name in WITHOUT if of == command}
        assert set(BAD.get(command, {})) | without == text, command
        assert set(NUMBERS.get(command, {})) <= named - text


@pytest.mark.parametrize(
    ("table", "command"),
    [
        pytest.param(table, command, id=f"{kind}-{command}")
        for kind, table in (("text", BAD), ("number", NUMBERS))
        for command in table
    ],
)
def test_value__that_is_wrong_is_told(
    table: Mapping[str, Mapping[str, Sequence[tuple[str, str]]]],
    command: str,
    whole: Lake,
    before: dict[str, Any],
    say: Callable[[Sequence[str]], Result],
) -> None:
    lines = [
        (line(command, one, value), 1, part)
        for one in parameters(command)
        for value, part in table[command].get(str(one.name), ())
    ]
    assert lines
    check(whole, before, say, lines)


def _unusable(parameter: click.Parameter) -> list[tuple[str, str]]:
    """Values that cannot be meant, by what kind of value it takes."""
    kind = parameter.type
    if isinstance(kind, Whole):
        words = ("", "x", "1.5", "nan", "0x10", "1e3")
        return [
            *((word, "is not a valid integer") for word in words),
            (str(int(kind.min or 0) - 1), "is not in the range"),
            (str(10**30), "is more than the largest"),
            (str(-(10**30)), "is not in the range"),
        ]
    if isinstance(kind, Real):
        infinite = [(word, "is no number up to") for word in ("nan", "inf", "1e400")]
        return [("", "is not a valid float"), ("x", "is not a valid float"), *infinite] + [
            (word, "is not in the range") for word in ("-1", "-inf")
        ]
    if isinstance(kind, click.Choice):
        return [("", "is not one of"), ("nothing", "is not one of")]
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return [("yes", "does not take a value")]
    assert is_text(parameter), f"{parameter.name}: numbers are Whole or Real, with bounds"
    return [("a\0b", "no UTF-8 or are zero"), ("\ud800", "no UTF-8 or are zero")]


def test_values__that_cannot_be_meant_are_told_by_every_parameter(
    whole: Lake, before: dict[str, Any], say: Callable[[Sequence[str]], Result]
) -> None:
    rows = [
        (line(command, parameter, value), 2, part)
        for command in commands()
        for parameter in parameters(command)
        for value, part in _unusable(parameter)
    ]
    assert len(rows) > 300
    check(whole, before, say, rows)


@pytest.mark.parametrize(
    "value",
    ["", "x" * 10_000, "'; DROP TABLE tokens; --"],
    ids=["empty", "huge", "injected"],
)
def test_texts__that_cannot_be_meant_are_told_by_every_parameter(
    value: str, whole: Lake, before: dict[str, Any], say: Callable[[Sequence[str]], Result]
) -> None:
    rows = [
        (line(command, parameter, value), 1, "")
        for command in commands()
        for parameter in parameters(command)
        if is_text(parameter) and (command, parameter.name, value[:1]) not in MAY_BE
    ]
    assert len(rows) > 60
    check(whole, before, say, rows)


def test_parameters__that_are_missing_unknown_or_too_many_are_told(
    whole: Lake, before: dict[str, Any], say: Callable[[Sequence[str]], Result]
) -> None:
    rows = []
    for command, parsed in commands().items():
        rows.append(([command, "--nothing"], 2, "No such option"))
        for one in parsed.params:
            if one.name == "runner":
                rows.append((line(command, one, "nothing"), 2, "is not one of"))
            elif one.required:
                rows.append((lacking(command, one), 2, "Missing "))
        many = ["1"] * 5 if command != "withdraw" else []
        if many:
            rows.append(([command, *many], 2, ""))
    check(whole, before, say, rows)


def _usable(parameter: click.Parameter) -> str:
    """A value that click takes."""
    kind = parameter.type
    if isinstance(kind, Whole | Real):
        return str(int(kind.min or 0) + 1)
    return str(kind.choices[0]) if isinstance(kind, click.Choice) else "x"


def test_options__that_are_given_twice_are_told(
    whole: Lake, before: dict[str, Any], say: Callable[[Sequence[str]], Result]
) -> None:
    rows = []
    for command in commands():
        for one in commands()[command].params:
            if isinstance(one, click.Option) and not (one.multiple or one.is_flag):
                twice = [one.opts[-1], _usable(one)] * 2
                rows.append(
                    ([command, *twice, *without(LINES[command], one)], 2, "is given 2 times")
                )
    assert len(rows) > 130
    check(whole, before, say, rows)


def test_lakes__that_are_none_are_told_by_every_command(tmp_path: Path, cli: Cli) -> None:
    file = tmp_path / "file"
    file.write_text("no lake", "utf-8")
    odd = tmp_path / "odd"
    odd.mkdir()
    (odd / "lake.toml").write_text("format = [", "utf-8")
    makers = ("init", "ingest", "pipeline")
    places = {"folder": tmp_path, "model": tmp_path, "tensor": TENSOR}
    for command in commands():
        words = [one.format(**places) for one in LINES[command]]
        for path in (file, odd, Path("/proc/none"), Path("x" * 10_000)):
            if command in makers and path == odd:
                continue
            call: Callable[[], Result] = partial(cli, path, command, *words)
            assert not refused(call(), 1, ""), (command, str(path)[:40])
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "odd"]
