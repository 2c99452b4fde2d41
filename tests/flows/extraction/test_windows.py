from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from actlake.flows.extraction.tokens import tokenize_documents
from actlake.flows.extraction.windows import (
    ReadColumn,
    Window,
    windows_of_document,
    windows_of_rows,
)
from actlake.storage.errors import CorruptError, InputError

TokenizerMaker = Callable[[int, int], PreTrainedTokenizerBase]

COLUMNS = ("token_id", "window_position", "is_special")


@dataclass
class Case:
    """How documents are cut, and what the model must see: found by slicing lists."""

    windowing: str
    prefix: int
    suffix: int
    window: int
    overlap: int
    lengths: list[int]

    def text(self) -> list[str]:
        numbers = iter(range(10**6))
        return [" ".join(f"w{next(numbers) % 20}" for _ in range(n)) for n in self.lengths]

    def inputs(self, tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
        before, after = [2, 3][: self.prefix], [4, 5][: self.suffix]
        contents = [tokenizer.encode(text, add_special_tokens=False) for text in self.text()]
        if self.windowing == "packed":
            stream = [t for ids in contents for t in before + ids + (after or [1])]
            return cut(stream, self.window, self.overlap)
        capacity = self.window - self.prefix - self.suffix
        return [
            before + part + after for ids in contents for part in cut(ids, capacity, self.overlap)
        ]


def cut(tokens: list[int], size: int, overlap: int) -> list[list[int]]:
    start, parts = 0, []
    while True:
        parts.append(tokens[start : start + size])
        if start + size >= len(tokens):
            return parts
        start += size - overlap


@st.composite
def cases(draw: st.DrawFn) -> Case:
    windowing: str = draw(st.sampled_from(["document", "packed"]))
    prefix, suffix, overlap = (draw(st.integers(0, 2)), draw(st.integers(0, 2)), 0)
    overlap = draw(st.integers(0, 6))
    new = draw(st.integers(1, 6))
    window = overlap + new + (prefix + suffix if windowing == "document" else 0)
    lengths = draw(st.lists(st.integers(1, 40), min_size=1, max_size=5))
    return Case(windowing, prefix, suffix, window, overlap, lengths)


def columns_of(case: Case, tokenizer: PreTrainedTokenizerBase) -> dict[str, NDArray[np.generic]]:
    documents = list(
        tokenize_documents(
            tokenizer,
            case.text(),
            windowing=case.windowing,
            window=case.window,
            overlap=case.overlap,
        )
    )
    return {
        name: np.concatenate([getattr(rows, name) for rows in documents])
        for name in (*COLUMNS, "window")
    }


def reader(columns: dict[str, NDArray[np.generic]]) -> ReadColumn:
    def read(name: str, start: int, stop: int) -> NDArray[np.generic]:
        assert 0 <= start <= stop <= len(columns[name])
        return columns[name][start:stop]

    return read


@given(case=cases())
def test_windows_of_all_rows__are_the_inputs_that_the_rule_cuts(
    make_tokenizer: TokenizerMaker, case: Case
) -> None:
    tokenizer = make_tokenizer(case.prefix, case.suffix)
    columns = columns_of(case, tokenizer)
    rows = len(columns["token_id"])

    windows = windows_of_rows(reader(columns), rows, 0, rows, windowing=case.windowing)

    assert [window.token_ids.tolist() for window in windows] == case.inputs(tokenizer)
    assert_rows_once(windows, columns, 0, rows)


@given(case=cases(), data=st.data())
def test_windows_of_a_range__are_whole_and_keep_the_range(
    make_tokenizer: TokenizerMaker, case: Case, data: st.DataObject
) -> None:
    tokenizer = make_tokenizer(case.prefix, case.suffix)
    columns = columns_of(case, tokenizer)
    rows = len(columns["token_id"])
    start = data.draw(st.integers(0, rows - 1))
    stop = data.draw(st.integers(start + 1, rows))

    windows = windows_of_rows(reader(columns), rows, start, stop, windowing=case.windowing)
    everything = windows_of_rows(reader(columns), rows, 0, rows, windowing=case.windowing)

    overlapping = [w for w in everything if w.start < stop and w.stop > start]
    assert [w.token_ids.tolist() for w in windows] == [w.token_ids.tolist() for w in overlapping]
    assert_rows_once(windows, columns, start, stop)


def assert_rows_once(
    windows: Sequence[Window], columns: dict[str, NDArray[np.generic]], start: int, stop: int
) -> None:
    assert [r for w in windows for r in range(w.start, w.stop)] == list(range(start, stop))
    for window in windows:
        stored = slice(window.start, window.stop)
        assert (window.token_ids[window.kept] == columns["token_id"][stored]).all()
        assert (window.kept == columns["window_position"][stored]).all()
        assert (window.is_special == columns["is_special"][stored]).all()


def test_long_windows__are_found_far_beyond_the_range(make_tokenizer: TokenizerMaker) -> None:
    """A window of 30,000 tokens with as many carried needs rows far to the left and right."""
    case = Case("document", 1, 1, 30_000, 20_000, [70_000])
    tokenizer = make_tokenizer(1, 1)
    columns = columns_of(case, tokenizer)
    rows = len(columns["token_id"])

    (window,) = windows_of_rows(reader(columns), rows, 45_000, 45_001, windowing="document")

    assert window.token_ids.tolist() == case.inputs(tokenizer)[2]


def test_a_small_range__reads_little_of_a_large_rowset(make_tokenizer: TokenizerMaker) -> None:
    case = Case("document", 1, 1, 64, 8, [50_000])
    columns = columns_of(case, make_tokenizer(1, 1))
    read = 0

    def count(name: str, start: int, stop: int) -> NDArray[np.generic]:
        nonlocal read
        read += stop - start
        return columns[name][start:stop]

    windows_of_rows(count, len(columns["token_id"]), 25_000, 25_100, windowing="document")
    assert read < 3 * 5_000


def test_windows_of_a_document__want_every_row(make_tokenizer: TokenizerMaker) -> None:
    (rows,) = tokenize_documents(make_tokenizer(1, 1), ["w0 w1 w2 w3"], window=5, overlap=1)
    windows = windows_of_document(rows)
    assert [window.token_ids.tolist() for window in windows] == [[2, 7, 8, 9, 4], [2, 9, 10, 4]]
    assert sum(len(window.kept) for window in windows) == rows.rows


def test_no_rows__need_no_windows_and_rows_outside_are_refused() -> None:
    columns: dict[str, NDArray[np.generic]] = {"window_position": np.arange(3)}
    assert windows_of_rows(reader(columns), 3, 2, 2, windowing="document") == []
    with pytest.raises(InputError, match="rows 2 to 4 are not of a rowset of 3 rows"):
        windows_of_rows(reader(columns), 3, 2, 4, windowing="document")


def test_rows_that_lost_their_left_context__are_refused() -> None:
    columns: dict[str, NDArray[np.generic]] = {
        "token_id": np.arange(3),
        "window_position": np.array([2, 3, 4]),  # two carried tokens, of a window that is not here
        "is_special": np.zeros(3, np.bool_),
    }
    with pytest.raises(CorruptError, match="rows 0 to 3 do not form whole windows"):
        windows_of_rows(reader(columns), 3, 0, 3, windowing="document")
