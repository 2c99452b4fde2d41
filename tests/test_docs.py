"""Every code block of the documents runs.

A Markdown file becomes one Python script with the same line numbers, run in the folder of the
`doc_lake` fixture (tests/conftest.py), so its blocks run in order and share their names:

- `python`: runs as it stands.
- `bash`: each line that starts with `actlake` runs, in this process where it needs no shell, as
  another import of torch for each would take most of the time; `make X` must name a target of
  the Makefile; git, cd and pip, which make the clone, are not run; anything else is refused.
- `console`: as `bash`, for the lines that start with `$ `; the others are what it prints.
- `sql`: one SELECT, run by `lake.sql` on `demo-lake`.
- `toml`: must parse.
- `text` and every other language is not run. A block without a language is refused.

A line that starts with `actlake` or `$ actlake` must parse, in a `text` block too: its command,
options and arguments are those that there are.
"""

import os
import re
import shlex
import sys
from itertools import takewhile
from pathlib import Path
from textwrap import dedent

import click
import pytest

from actlake.flows.cli import main
from tests.forked import child

ROOT = Path(__file__).parents[1]
FOLDERS = ("analytics", "benchmarks", "docs", "flows", "sql", "storage", "tests")
DOCUMENTS = sorted(
    [*ROOT.glob("*.md")] + [file for folder in FOLDERS for file in (ROOT / folder).rglob("*.md")]
)
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
BLOCK = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SHELL = {*"|&;<>$`*\\"}
"""Characters of what only a shell can run."""
NOT_RUN = ("cd ", "git ", "pip ")
LIMIT_SECONDS = 300

PRELUDE = """\
import subprocess as _subprocess, tomllib as _tomllib
def _sh(line): _subprocess.run(["bash", "-o", "pipefail", "-ec", line], check=True)
def _actlake(*words):
    from actlake.flows.cli import main
    main(words, standalone_mode=False)
def _sql(text):
    from actlake.storage import Lake
    Lake.open("demo-lake").sql(text).arrow()
"""


def script(markdown: str) -> str:
    """The Python that runs the blocks of ``markdown``, each statement on the line of its source.

    Raises ValueError for a block that could not be run and does not say that it should not.
    """
    lines = [""] * (markdown.count("\n") + 1)
    for block in BLOCK.finditer(markdown):
        language, code = block[2].strip(), dedent(block[3])
        start = markdown.count("\n", 0, block.start(3))
        match language:
            case "":
                raise ValueError(f"line {start}: say the language of the block, `text` if none")
            case "python":
                lines[start : start + code.count("\n")] = code.splitlines()
            case "bash" | "console":
                for offset, command in commands(code, prompt=language == "console"):
                    lines[start + offset] = shell(command, start + offset + 1)
            case "sql":
                lines[start] = f"_sql({code!r})"
            case "toml":
                lines[start] = f"_tomllib.loads({code!r})"
    return "\n".join(lines)


def commands(code: str, *, prompt: bool) -> list[tuple[int, str]]:
    """The commands of a shell block and where each starts; a backslash continues a line."""
    found = []
    joined = re.sub(r"\\\n", "\\\0", code)  # one line a command, every newline still counted
    offset = 0
    for line in joined.splitlines():
        command = line.removeprefix("$ ") if prompt else line
        if command.strip() and not command.startswith("#") and (not prompt or command != line):
            found.append((offset, command.replace("\\\0", "\\\n")))
        offset += 1 + line.count("\0")
    return found


def shell(command: str, line: int) -> str:
    """The Python that runs ``command``, or nothing where it must only be right."""
    if command.startswith("make "):
        target = command.split()[1]
        if target not in TARGETS:
            raise ValueError(f"line {line}: the Makefile has no target {target}")
        return ""
    if command.startswith(NOT_RUN):
        return ""
    if command.startswith("actlake "):
        return (
            f"_sh({command!r})" if SHELL & {*command} else f"_actlake(*{shlex.split(command)[1:]})"
        )
    raise ValueError(f"line {line}: this test cannot run {command!r}; put it in a `text` block")


def run(markdown: str, name: str, folder: Path) -> None:
    """Run the blocks of ``markdown`` in ``folder``; a failure shows the line of the document."""
    said = folder / f"{name.replace('/', '-')}.log"
    code = f"{PRELUDE}exec(compile({script(markdown)!r}, {name!r}, 'exec'))"
    process = child(_run, code, folder, said)  # which has torch behind it already
    process.start()
    process.join(LIMIT_SECONDS)
    process.kill()
    process.join()
    assert process.exitcode == 0, f"{name} does not run:\n{said.read_text()}"


def _run(code: str, folder: Path, said: Path) -> None:
    with said.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(folder)
    os.environ |= {
        "ACTLAKE_RUNNER": "inline",  # tests of flows start Prefect, a document need not
        "MPLBACKEND": "agg",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    try:
        exec(code, {"__name__": "__main__"})
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.relative_to(ROOT).as_posix())
def test_document__runs(document: Path, doc_lake: Path) -> None:
    run(document.read_text(), document.relative_to(ROOT).as_posix(), doc_lake)


def refused(markdown: str) -> list[str]:
    """What the command line says of the lines of ``markdown`` that it could not take."""
    found = []
    for block in BLOCK.finditer(markdown):
        if block[2].strip() not in ("text", "bash", "console"):
            continue
        start = markdown.count("\n", 0, block.start(3)) + 1
        for offset, command in commands(dedent(block[3]), prompt=False):
            line = command.removeprefix("$ ")
            if line.startswith("actlake "):
                try:
                    parse(words(line))
                except (click.ClickException, ValueError) as error:
                    found.append(f"line {start + offset}: {error}")
    return found


def words(line: str) -> list[str]:
    """The words of the first command in ``line``, without its name and without what only a shell
    takes; raises ValueError where a quotation does not end."""
    lexer = shlex.shlex(line.replace("\\\n", ""), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""  # which would begin within a word too
    return [*takewhile(lambda word: not word.startswith((*"|&;<>#",)), lexer)][1:]


def parse(words: list[str]) -> None:
    """Parse a line as `actlake` would, and do nothing; raises ClickException if it would."""
    try:
        with main.make_context("actlake", words) as context:
            name, command, rest = main.resolve_command(context, [*words])
            assert command is not None
            command.make_context(name, rest, parent=context)
    except click.exceptions.Exit:  # as --help and --version do
        return


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.relative_to(ROOT).as_posix())
def test_document__has_only_commands_that_parse(document: Path) -> None:
    assert refused(document.read_text()) == []


GOOD = """\
# Title
```python
total = sum(range(4))
```
Then, in a list:

- item
  ```python
  for word in ["a"]:
      total += len(word)
  ```

```console
$ actlake --help | \\
    grep Usage
Usage: actlake
$ make demo
```
```toml
name = "x"
```
```text
not run at all (
```
```python
from pathlib import Path

assert total == 7
Path("seen").write_text("yes")
```
"""


def test_run__runs_all_blocks_in_order(tmp_path: Path) -> None:
    run(GOOD, "GOOD.md", tmp_path)
    assert (tmp_path / "seen").read_text() == "yes"


def test_script__keeps_line_numbers() -> None:
    lines = script(GOOD).splitlines()
    for number, line in enumerate(GOOD.splitlines()):
        if "total" in line or "Path" in line:
            assert lines[number] == line.removeprefix("  ") if "  " in line else line
    assert lines[13] == "_sh('actlake --help | \\\\\\n    grep Usage')"
    assert "".join(lines[14:18]) == ""


def test_run__fails_with_the_line_of_the_document(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r'File "BAD.md", line 28'):
        run(GOOD.replace("== 7", "== 8"), "BAD.md", tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "x"', "name = x"),
        ("grep Usage", "grep no-such-word"),
        ("actlake --help", "actlake no-such-command"),
    ],
)
def test_run__fails_for_a_bad_block(old: str, new: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="does not run"):
        run(GOOD.replace(old, new), "BAD.md", tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("$ make demo", "$ make coffee", "line 17: the Makefile has no target coffee"),
        ("$ actlake", "$ rm -r", "line 14: this test cannot run"),
        ("```text", "```", "line 22: say the language"),
    ],
)
def test_script__refuses_what_it_cannot_run(old: str, new: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        script(GOOD.replace(old, new))


LINES = "```text\n{}\n```\n- in a list\n  ```console\n  $ actlake --version\n  ```\n"


@pytest.mark.parametrize(
    "line",
    [
        "actlake show topk:m:s:8@c 7 --limit 3 --lake nowhere",
        "$ actlake ls -h",
        "actlake ls \\\n    --lake nowhere  # and so on",
        'actlake sql "SELECT 1 > 0 | 2" --format csv | head > one.csv',
        "actlake log > log.txt && rm log.txt; actlake no-such-command",
        "what actlake no-such-command prints",
    ],
)
def test_refused__takes_what_parses(line: str) -> None:
    assert refused(LINES.format(line)) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("actlake no-such-command", "No such command 'no-such-command'"),
        ("$ actlake ls --no-such-option", "No such option '--no-such-option'"),
        ("actlake ls \\\n    --no-such-option", "No such option '--no-such-option'"),
        ("actlake show codes", "Missing argument 'FEATURE'"),
        ("actlake show codes seven", "'seven' is not a valid integer"),
        ("actlake log --limit 1 --limit 2", "--limit is given 2 times"),
        ("actlake sql 'SELECT 1", "No closing quotation"),
    ],
)
def test_refused__says_what_does_not_parse(line: str, message: str) -> None:
    for markdown in (LINES.format(line), LINES.format(line).replace("text", "bash")):
        [found] = refused(f"# Title\n{markdown}")
        assert found.startswith("line 3: ")
        assert message in found
