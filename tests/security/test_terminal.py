"""What a lake holds is shown on a terminal and never obeyed by it, in every reading command."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from actlake.flows.cli import main
from actlake.storage import Document, Lake

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\u2066[bold]x[/bold]\r\nok\b\x00"
SHOWN = "‹U+202E›"


@pytest.fixture(scope="module")
def hostile(empty_lake: Path) -> Path:
    """A lake whose source, ids, texts, labels, pins and failed runs hold what terminals obey."""
    root = Path(shutil.copytree(empty_lake, empty_lake.parent / "hostile"))
    lake = Lake.open(root)
    lake.create_corpus("c", [Document(EVIL, EVIL, {"label": EVIL})], source=EVIL)
    lake.pin(EVIL)
    with pytest.raises(RuntimeError), lake.run("test", {"text": EVIL}, {}):
        raise RuntimeError(EVIL)
    lake.close()
    return root


LINES = (
    ["ls"],
    ["ls", "corpora"],
    ["log"],
    ["log", "--snapshots"],
    ["log", "--pins"],
    ["sql", "SELECT source_id, text FROM documents"],
    ["sql", "SELECT * FROM labels"],
    ["sql", f'SELECT 1 AS "{EVIL.replace(chr(0), "").replace(chr(8), "")}"'],
    ["sql", "SELECT $x", "-p", f"x={EVIL.replace(chr(0), '')}"],
    ["sql", EVIL.replace("\0", "")],
    ["show", EVIL.replace("\0", ""), "0"],
    ["ls", EVIL.replace("\0", "")],
    ["plot", EVIL.replace("\0", "")],
    ["delete", "corpus", EVIL.replace("\0", "")],
    ["unpin", EVIL.replace("\0", "")],
    ["withdraw", EVIL.replace("\0", ""), "0", "--reason", "x"],
)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[0])
def test_terminal__is_told_what_there_is_and_obeys_nothing(line: list[str], hostile: Path) -> None:
    found = CliRunner().invoke(main, line, env={"ACTLAKE_LAKE": str(hostile)})
    assert found.exception is None or isinstance(found.exception, SystemExit)
    for text in (found.stdout, found.stderr):
        assert not [one for one in text if not one.isprintable() and one != "\n"], repr(text)


def test_terminal__shows_the_text_with_what_would_be_obeyed_named(hostile: Path) -> None:
    lines = [["ls", "corpora"], ["log"], ["log", "--pins"], ["sql", "SELECT text FROM documents"]]
    for line in lines:
        found = CliRunner().invoke(main, line, env={"ACTLAKE_LAKE": str(hostile)})
        assert SHOWN in found.stdout, line
        assert "[bold]x" in found.stdout
