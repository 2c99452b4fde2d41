"""Every message of an error says, after a semicolon, what to do next."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from actlake.storage import errors

ROOT = Path(__file__).parents[1]
FOLDERS = ("sql", "storage", "analytics", "flows")
COMPLETED = {
    "flows/extract_again.py": "what to do is added by repair",
    "flows/extraction/memory.py": "what to do is added by the extraction, which tries less first",
    "flows/repair.py": "what to do is added where they are caught",
    "storage/repair.py": "what to do is added where they are caught",
}
"""Modules whose messages others complete."""


def without_next_step(source: str) -> Iterator[int]:
    """Lines that raise words of their own, of which none come after a semicolon.

    A message that ends with what another error or function says is that one's to complete.
    """
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id=name), args=[message, *_]) if name in errors.__all__:
                match message:
                    case ast.JoinedStr(values=[*_, ast.FormattedValue()]):
                        continue
                    case ast.JoinedStr() | ast.Constant():
                        words = (n.value for n in ast.walk(message) if isinstance(n, ast.Constant))
                        if ";" not in "".join(map(str, words)):
                            yield node.lineno


def test_messages__say_what_to_do_next() -> None:
    found = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if lines := [*without_next_step(path.read_text("utf-8"))]:
                found[name] = lines
    assert COMPLETED.keys() <= found.keys()  # or the row is of yesterday
    assert {name: lines for name, lines in found.items() if name not in COMPLETED} == {}


@pytest.mark.parametrize(
    ("source", "faulty"),
    [
        ("raise InputError('no x')", True),
        ("raise InputError(f'no {x} here')", True),
        ("raise InputError(f'no {x} here; give one')", False),
        ("raise InputError(f'the rows: {error}')", False),
        ("raise InputError(told)", False),
        ("raise ValueError('no x')", False),
    ],
)
def test_messages__are_told_apart(source: str, faulty: bool) -> None:
    assert bool([*without_next_step(source)]) == faulty
