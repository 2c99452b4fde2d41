"""What a name means is one thing."""

import pytest

from actlake.storage import Lake
from actlake.storage.errors import NameTakenError
from actlake.storage.fields import TABLES
from actlake.storage.names import NAMED, is_made, means_the_same


def test_named__are_tables_with_a_fingerprint() -> None:
    for table, column in NAMED.items():
        assert {column, "fingerprint"} <= {field.name for field in TABLES[table]}


@pytest.mark.parametrize("found", [[("b",)], [(None,)], [("a",), ("a",)], [("a",), ("b",)]])
def test_means_the_same__refuses_another_meaning(found: list[tuple[object, ...]]) -> None:
    with pytest.raises(NameTakenError, match="the mask name 'm' is taken"):
        means_the_same("mask", "m", "a", found)


def test_means_the_same__knows_what_is_there() -> None:
    assert means_the_same("mask", "m", "a", [("a",)])
    assert not means_the_same("mask", "m", "a", [])


def test_is_made__asks_the_table(bench: Lake) -> None:
    fingerprint = bench.mask("all").fingerprint
    assert is_made(bench._connection(), "masks", "all", fingerprint)
    assert not is_made(bench._connection(), "masks", "x' OR 'x' = 'x", fingerprint)
    with pytest.raises(NameTakenError):
        is_made(bench._connection(), "masks", "all", "other")
