"""The command line: instant help, and one line for whatever goes wrong."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from inspect import signature
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import click
import pytest

from actlake.flows import compare, encode, extract, hypothesize, summarize, train
from actlake.flows.cli import main
from actlake.flows.workers import OTHERS
from actlake.storage.lake import Lake
from tests.flows.commands import Cli, ok, refused
from tests.flows.small_lake import TOPK, codes_name
from tests.flows.tiny import save_model, state

HEAVY = ("torch", "transformers", "prefect", "duckdb", "polars", "zarr", "numpy", "pyarrow", "rich")


def commands() -> Iterator[click.Command]:
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        yield command


def test_help__is_there_for_every_command_and_option() -> None:
    names = [command.name for command in commands()]
    assert names == [
        *("init", "ingest", "extract", "train", "encode"),
        *("summarize", "summarize-pairs", "summarize-labels"),
        *("compare", "diff-corpora", "hypothesize", "export", "pipeline"),
        *("ls", "show", "log", "sql", "verify", "plot"),
        *("maintain", "repair", "gc", "compact", "backup", "restore", "pin", "unpin"),
        *("delete", "withdraw"),
    ]
    flows = {*names[1 : names.index("ls")], "maintain", "repair"}
    for command in commands():
        assert command.help, command.name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{command.name} {parameter.opts}"
        options = {option for parameter in command.params for option in parameter.opts}
        assert "--lake" in options
        assert ("--runner" in options) == (command.name in flows)


def test_options__have_the_defaults_of_the_flows() -> None:
    """A command that forgets a default of its flow would be another flow."""
    flows = {
        "extract": extract,
        "train": train,
        "encode": encode,
        "summarize": summarize,
        "compare": compare,
        "hypothesize": hypothesize,
    }
    for command in commands():
        if command.name not in flows:
            continue
        body = getattr(flows[command.name], command.name)
        ours = signature(body).parameters
        for parameter in command.params:
            # Of the command alone; --weights says that another flow is run too, on --token-sets.
            own = ("path", "runner", "weights", "token_sets", "plan", "price", *OTHERS)
            if parameter.name in own or parameter.required:
                continue
            expected = ours[str(parameter.name)].default
            default = parameter.get_default(click.Context(command))
            if expected is not None and not isinstance(expected, bool):
                assert default == expected, f"{command.name} {parameter.name}"


def test_help__is_instant_and_imports_nothing_heavy() -> None:
    listing = (
        "import sys\nfrom actlake.flows.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print('loaded', *sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", listing], capture_output=True, text=True, check=True
    )
    loaded = result.stdout.splitlines()[-1].split()[1:]
    assert "click" in loaded
    assert not {*HEAVY} & {*loaded}
    seconds = []
    for _ in range(3):
        before = getrusage(RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "actlake.flows", "--help"], capture_output=True, check=True
        )
        after = getrusage(RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.5  # of work: a busy machine may take longer by the clock


def test_reading__imports_no_prefect_and_no_torch(speeches: Path) -> None:
    listing = (
        "import sys\nfrom actlake.flows.cli import main\n"
        "for line in (['ls'], ['log'], ['sql', 'SELECT 1 AS one'], ['verify'],\n"
        "             ['show', sys.argv[1], '1', '--limit', '1']):\n"
        "    try:\n        main(line)\n"
        "    except SystemExit as end:\n        assert not end.code, line\n"
        "print('loaded', *sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", listing, codes_name(TOPK)],
        capture_output=True,
        text=True,
        env={**os.environ, "ACTLAKE_LAKE": str(speeches)},
    )
    assert result.returncode == 0, result.stderr
    loaded = {*result.stdout.splitlines()[-1].split()[1:]}
    assert "duckdb" in loaded
    assert not {"torch", "transformers", "prefect", "dask", "matplotlib", "sklearn"} & loaded


def test_init__makes_a_lake_once(tmp_path: Path, cli: Cli) -> None:
    path = tmp_path / "new" / "lake"
    assert str(path) in ok(cli(path, "init"))
    assert ok(cli(path, "ls", "masks")).count("no_special") == 1
    assert "not empty" in refused(cli(path, "init"))
    assert "is as it was committed" in ok(cli(path, "verify"))


def test_paths__that_are_no_lake_are_refused(speeches: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "missing"):
        for command in (["ls"], ["sql", "SELECT 1"], ["verify"], ["encode", "d"]):
            message = refused(cli(path, *command))
            assert str(path) in message
            assert "actlake init" in message
    newer = Path(shutil.copytree(speeches, tmp_path / "newer"))
    settings = newer / "lake.toml"
    settings.write_text(settings.read_text("utf-8").replace("format = 1", "format = 99"), "utf-8")
    message = refused(cli(newer, "ls"))
    assert "format 99" in message
    assert "install actlake" in message
    assert not (tmp_path / "missing").exists()


def test_bad_input__is_one_line_and_changes_nothing(
    lake: Lake, tiny: Callable[[str], Path], documents: Path, tmp_path: Path, cli: Cli
) -> None:
    root, source = lake.root, str(tiny("llama"))
    empty, blank = tmp_path / "empty.jsonl", tmp_path / "blank.jsonl"
    empty.write_text("", "utf-8")
    blank.write_text('{"id": "a", "text": "w1"}\n{"id": "b", "text": ""}\n', "utf-8")
    site = ("--site", "resid_post.1")
    before = state(lake)
    for arguments, words in (
        (("extract", "/nowhere/model", "--corpus", "c", *site), ("/nowhere/model",)),
        (("extract", source, "--corpus", "c", "--site", "resid_pots.1"), ("resid_post.1", "mean")),
        (("extract", source, "--corpus", "x", *site), ("x@tiny-llama", "actlake ingest")),
        (("ingest", empty, "--corpus", "d"), ("empty.jsonl",)),
        (("ingest", blank, "--corpus", "d"), ("blank.jsonl", "text")),
        (("ingest", tmp_path / "no.csv", "--corpus", "d"), ("no.csv",)),
        (("ingest", documents, "--corpus", "../d"), ("../d", "letters")),
        (("ingest", documents, "--corpus", "d\n\x1b[31m"), ("letters",)),
        (("ingest", blank, "--corpus", "d", "--text", "body"), ("body",)),
        (("train", "nothing"), ("nothing", "actlake ls tensors")),
        (("encode", "nothing"), ("nothing", "actlake ls dictionaries")),
        (("summarize", "nothing"), ("nothing", "actlake ls codes")),
    ):
        message = refused(cli(root, *arguments))
        assert all(word in message for word in words), message
        assert "\x1b" not in message
    assert state(lake) == before


def test_taken_name__is_one_line(lake: Lake, tmp_path: Path, cli: Cli) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text('{"text": "w1 w2"}\n', "utf-8")
    before, snapshot = state(lake), lake.newest_snapshot()
    message = refused(cli(lake.root, "ingest", other, "--corpus", "c"))[-200:]
    assert "'c' is taken" in message
    assert state(lake) == before
    assert lake.newest_snapshot() == snapshot


@pytest.mark.slow
def test_overflow__as_the_person_sees_it(
    tiny: Callable[[str], Path],
    documents: Path,
    tmp_path: Path,
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After what a person types, in a process of its own."""
    huge = save_model("llama", tmp_path / "huge-llama", scale=3000.0)

    models = ("--model", tiny("llama"), "--model", huge)
    given = ("--corpus", "c", "--id", "id", *models, "--documents")
    monkeypatch.chdir(tmp_path)
    made = cli(Path("lake"), "ingest", documents, *given)
    assert ok(made) == ""
    assert "made a lake at lake" in made.stderr
    found = cli(Path("lake"), "extract", tiny("llama"), "--corpus", "c", "--site", "resid_post.1")
    assert ok(found).splitlines() == ["tiny-llama:resid_post.1@c"]
    assert "rows/s" in found.stderr
    lake = Lake.open(tmp_path / "lake")
    before = state(lake)
    typed = ("extract", huge, "--corpus", "c", "--site", "resid_post.2")
    result = subprocess.run(
        [sys.executable, "-m", "actlake.flows", *map(str, typed)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "ACTLAKE_RUNNER": "inline"},
    )
    assert result.returncode == 1
    assert result.stdout == ""
    [line] = [line for line in result.stderr.splitlines() if "weights" not in line]
    assert line.startswith("Error: ")
    assert "huge-llama:resid_post.2@c" in line
    assert "bfloat16" in line
    assert state(lake) == before
