"""docs/tables.md says what the data dictionary says."""

from pathlib import Path

from actlake.storage.fields import markdown

DOCUMENT = Path(__file__).parents[1] / "docs" / "tables.md"


def test_tables__are_printed_from_the_data_dictionary() -> None:
    again = "run `python -m actlake.storage.fields > docs/tables.md`"
    assert DOCUMENT.read_text("utf-8") == markdown(), again
