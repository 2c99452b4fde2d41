"""The table of attempts says what the tests try."""

from pathlib import Path

import pytest

from tests.security.table import ROWS, markdown

pytestmark = pytest.mark.slow  # torch is imported by what is tried on models

DOCUMENT = Path(__file__).with_name("README.md")


def test_table__is_written_from_what_is_tried() -> None:
    again = "run `python -m tests.security.table > tests/security/README.md`"
    assert DOCUMENT.read_text("utf-8") == markdown(), again


def test_modules__of_attempts_have_a_row() -> None:
    tried = {Path(str(row.test.__code__.co_filename)).name for row in ROWS}
    here = {path.name for path in DOCUMENT.parent.glob("test_*.py")}
    assert here - {Path(__file__).name} <= tried
    assert all(row.attempts for row in ROWS)
