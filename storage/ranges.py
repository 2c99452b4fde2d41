"""What a catalog says of all values of a table's column, and how a file widens it.

Where it says nothing, DuckLake takes the range of the next file for that of all values, and leaves
rows out of answers that it should give. So it may say nothing only where there are no values yet;
of texts, of which a file may not tell the range, it says the widest there is.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from actlake.storage.parquet import ColumnFacts

__all__ = ["EVERY_TEXT", "TEXT", "Range"]

TEXT = "varchar"
EVERY_TEXT = "", "\U0010ffff" * 2
"""The smallest text, and one that is larger than any of which people make use."""
VALUES: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("int32", "int64"), int),
    **dict.fromkeys(("float32", "float64"), float),
}
"""What the texts of a range are compared as; the others' order is that of their characters."""


@dataclass(frozen=True, slots=True)
class Range:
    """What the catalog says of all values of a column."""

    nulls: bool | None
    lowest: str | None
    highest: str | None

    @classmethod
    def told(cls, nulls: object, lowest: str | None, highest: str | None) -> "Range":
        return cls(None if nulls is None else bool(nulls), lowest, highest)

    def with_file(self, facts: ColumnFacts, kind: str) -> "Range":
        """As it is when a file has come to the table."""
        nulls = (
            None if self.nulls is None or facts.nulls is None else bool(self.nulls or facts.nulls)
        )
        if kind == TEXT:
            return Range(nulls, *EVERY_TEXT)
        if facts.values == 0 or facts.lowest is None or facts.highest is None:
            return replace(self, nulls=nulls)  # no values, or nothing but NaN
        if self.lowest is None or self.highest is None:
            return Range(nulls, facts.lowest, facts.highest)
        key: Callable[[Any], Any] = VALUES.get(kind, str)
        lowest = min(self.lowest, facts.lowest, key=key)
        return Range(nulls, lowest, max(self.highest, facts.highest, key=key))
