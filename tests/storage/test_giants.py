"""Calls of which one can fill the memory, and looks at no clock while it does, are refused."""

import pytest

from actlake.storage.errors import QueryError
from actlake.storage.guard import check_predicate
from actlake.storage.lake import Lake


@pytest.mark.parametrize(
    "call",
    [
        *("repeat('x', 9)", "lpad('x', 9, 'y')", "Rpad('x', 9, 'y')", "main.repeat('x', 9)"),
        *("list_resize([1], 9)", "array_resize([1], 9)"),
    ],
)
def test_call__that_can_fill_the_memory_is_refused(call: str, bench: Lake) -> None:
    for sql in (f"SELECT {call}", f"SELECT 1 FROM range(3) t(i) WHERE {call} IS NULL"):
        with pytest.raises(QueryError, match="can fill the memory; take rows FROM range"):
            bench.sql(sql)
    with pytest.raises(QueryError, match=r"cannot call|can fill the memory"):
        check_predicate(f"{call} IS NULL", "tokens")


def test_rows_of_numbers__are_there_instead(bench: Lake) -> None:
    assert [*bench.sql("SELECT sum(n)::BIGINT FROM range(9) t(n)").rows()] == [(36,)]
    assert [*bench.sql("SELECT count(*) FROM generate_series(1, 4)").rows()] == [(4,)]
