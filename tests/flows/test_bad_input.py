"""Whatever is wrong in a line is said in one line, and the lake stays as it was.

Every refusal ends with 1. The rows come from ``bad_values``, from ``refused_files`` and from the
commands themselves, so that a parameter that is new needs a row.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import Result

from actlake.flows.encode import encode
from actlake.flows.ingest import ingest_documents
from actlake.flows.source_files import _COMPRESSED, _SUFFIXES
from actlake.flows.summarize import summarize
from actlake.flows.visible import LONGEST_LINE
from actlake.storage.lake import Lake
from tests.flows.bad_files import write_bad_files
from tests.flows.bad_values import BAD, MAY_BE, NUMBERS, WITHOUT
from tests.flows.commands import Cli, ok
from tests.flows.good_lines import LINES, commands, lacking, line, parameters, usable, without
from tests.flows.refused_files import FILES, LOCKED, OF_LAKE
from tests.flows.stale_lines import STALE
from tests.flows.tiny import hashes, state
from tests.flows.unusable_values import is_text, unusable

TENSOR = "tiny-llama:resid_post.1@c"


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
    with lake.create_tensor("alien@c", rowset=rowset.name, width=16, model="alien") as writer:
        writer.append(np.zeros((rowset.rows, 16), np.float16))
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
    monkeypatch.setenv("ACTLAKE_CACHE", str(whole.root.parent / "cache"))

    def call(line: Sequence[str]) -> Result:
        return cli(whole.root, *(one.format(**places, lake=whole.root) for one in line))

    return call


def refused(result: Result, *parts: str) -> str:
    """'' if the command ended so, with all ``parts`` in its one line; else what it did."""
    lines = result.stderr.splitlines()
    told = [one for one in lines if one.startswith("Error: ")]
    if not isinstance(result.exception, SystemExit) or result.exit_code != 1:
        return f"ended with {result.exit_code}, {result.exception!r}, {lines[-1:]}"
    if len(told) != 1 or lines[-1:] != told or "Traceback" in result.output:
        return f"said {lines[:3]}"
    if not all(part in told[0] for part in parts):
        return f"said {told[0][:300]!r}"
    if len(told[0]) > LONGEST_LINE + 10 or not told[0].isprintable():
        return f"said {len(told[0])} characters, {told[0][:100]!r}"
    return ""


def check(
    whole: Lake,
    before: dict[str, Any],
    say: Callable[[Sequence[str]], Result],
    rows: Sequence[tuple[list[str], *tuple[str, ...]]],
) -> None:
    """Every line is refused with what to do next, and the lake is what it was."""
    snapshot = whole.newest_snapshot()
    wrong = []
    for words, *parts in rows:
        if fault := refused(say(words), *parts, "; "):
            wrong.append(f"{' '.join(words)[:200]!r} should say {[*parts, '; ']}: {fault}")
    assert not wrong, "\n".join(wrong)
    assert whole.newest_snapshot() == snapshot
    assert hashes(whole.root) == before["files"]


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
        (line(command, one, value), part)
        for one in parameters(command)
        for value, part in table[command].get(str(one.name), ())
    ]
    assert lines
    check(whole, before, say, lines)


def _naming(asked: str, file: Path) -> list[str]:
    return [word.replace("{file}", f"{file}") for word in asked.split()]


@pytest.mark.parametrize("asked", FILES)
def test_file__that_is_faulty_is_named_with_what_to_do_next(
    asked: str, whole: Lake, before: dict[str, Any], say: Callable[[Sequence[str]], Result]
) -> None:
    files = whole.root.parent / "files"
    rows = [
        (_naming(asked, files / name), (files / name).name, part) for name, part in FILES[asked]
    ]
    check(whole, before, say, rows)
    assert not any(files.parent.glob("cache/models/*"))  # nothing that is taken for a conversion


@pytest.mark.parametrize("changed", STALE)
def test_thing__that_is_not_what_was_recorded_is_told(
    changed: str, whole: Lake, before: dict[str, Any], say: Callable[[Sequence[str]], Result]
) -> None:
    check(whole, before, say, [(line.split(), part) for line, part in STALE[changed].items()])


def test_files__are_of_every_format() -> None:
    names = [name for name, _ in FILES["ingest {file} --corpus new"]]
    for suffix in (*_SUFFIXES, *_COMPRESSED):
        assert any(name.endswith(suffix) for name in names), suffix


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file__that_may_not_be_read_is_named(
    tmp_path: Path,
    whole: Lake,
    before: dict[str, Any],
    say: Callable[[Sequence[str]], Result],
) -> None:
    locked = tmp_path / "parent" / "folder"
    locked.mkdir(parents=True)
    (locked / "a.txt").write_text("w1", "utf-8")
    places = {"parent": locked.parent, "folder": locked, "folder/a.txt": locked / "a.txt"}
    rows = []
    for asked, names in LOCKED.items():
        for name, part in names:
            place = places.get(name, tmp_path / name)
            place.touch()
            rows.append((_naming(asked, place), place.name, part))
            if name not in places:
                place.chmod(0)
    locked.chmod(0)
    try:
        check(whole, before, say, rows)
    finally:
        locked.chmod(0o700)


def test_file_of_a_lake__that_is_faulty_is_named_with_what_to_do_next(
    tmp_path: Path, cli: Cli
) -> None:
    root = tmp_path / "lake"
    Lake.create(root).close()
    ok(cli(root, "backup"))
    [backup] = root.glob("backups/[0-9]*")
    for command, name, content, part in OF_LAKE:
        file = (root if command == "ls" else backup) / name
        whole = file.read_bytes()
        file.unlink()
        if content is not None:
            file.write_bytes(content.encode("utf-8", "surrogateescape"))
        held = {one: one.read_bytes() for one in root.rglob("*") if one.is_file()}
        fault = refused(cli(root, *command.split()), str(root), part, "; ")
        assert not fault, (command, name, content, fault)
        assert {one: one.read_bytes() for one in root.rglob("*") if one.is_file()} == held
        file.write_bytes(whole)


def test_values__that_cannot_be_meant_are_told_by_every_parameter(
    whole: Lake, before: dict[str, Any], say: Callable[[Sequence[str]], Result]
) -> None:
    rows = [
        (line(command, parameter, value), part)
        for command in commands()
        for parameter in parameters(command)
        for value, part in unusable(parameter)
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
        (line(command, parameter, value), "")
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
        rows.append(([command, "--nothing"], "No such option"))
        for one in parsed.params:
            if one.name == "runner":
                rows.append((line(command, one, "nothing"), "is not one of"))
            elif one.required:
                rows.append((lacking(command, one), "Missing "))
        many = ["1"] * 5 if command != "withdraw" else []
        if many:
            rows.append(([command, *many], ""))
    check(whole, before, say, rows)


def test_options__that_are_given_twice_are_told(
    whole: Lake, before: dict[str, Any], say: Callable[[Sequence[str]], Result]
) -> None:
    rows = []
    for command in commands():
        for one in commands()[command].params:
            if isinstance(one, click.Option) and not (one.multiple or one.is_flag):
                twice = [one.opts[-1], usable(one)] * 2
                rows.append(([command, *twice, *without(LINES[command], one)], "is given 2 times"))
            elif isinstance(one, click.Option) and one.multiple:
                twice = [one.opts[-1], "1"] * 2
                left = without(LINES[command], one)
                rows.append(([command, *left, *twice], "is given twice; give it once"))
    rows.append((["withdraw", *LINES["withdraw"], "0"], "is given twice; give it once"))
    rows.append((["sql", "SELECT $a", "-p", "a=1", "-p", "a=2"], "a is given twice; give it once"))
    rows.append((["repair", "--model", "a=x", "--model", "a=y"], "a is given twice; give it once"))
    assert len(rows) > 140
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
            assert not refused(call(), ""), (command, str(path)[:40])
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "odd"]
