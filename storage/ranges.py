"""What a catalog says of all values of a table's column, and how a file widens it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from actlake.storage.parquet import ColumnFacts

__all__ = ["Range"]

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
        if facts.values == 0:
            return replace(self, nulls=nulls)
        if None in (self.lowest, self.highest, facts.lowest, facts.highest):
            return Range(nulls, None, None)
        key: Callable[[Any], Any] = VALUES.get(kind, str)
        lowest = min(self.lowest, facts.lowest, key=key)
        return Range(nulls, lowest, max(self.highest, facts.highest, key=key))
