"""Two tokenizations of the same documents, aligned by the characters that their tokens cover."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.statistic import Arrays, pack, unpack

Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Spans:
    """Where the tokens of one tokenization lie; all arrays shape (tokens,)."""

    document: Integers
    """Documents, >= 0; both sides number them alike."""
    start: Integers
    """Code points from the beginning of the document, first of the token."""
    stop: Integers
    """One past the last; equal to ``start`` for special tokens."""
    keep: NDArray[np.bool_]
    """The mask: tokens that take part."""


@dataclass(frozen=True, slots=True)
class Units:
    """The finest pieces of text that both tokenizations have in common, by document and position.

    Numbered from 0 within what was aligned together. Units never cross documents, so aligning a
    few documents at a time gives the same units.
    """

    unit_a: NDArray[np.int64]
    """The unit of each token of the first side, -1 if it is in none."""
    unit_b: NDArray[np.int64]
    document: NDArray[np.int64]
    """Shape (units,), never falling."""
    chars: NDArray[np.int64]
    """Code points that tokens of both sides cover, >= 1; shape (units,)."""

    @property
    def count(self) -> int:
        return len(self.document)


def align(a: Spans, b: Spans) -> Units:
    """The units of two tokenizations of the same documents.

    Kept tokens of non-zero length are linked if they overlap, those of one side as well as those
    of two. A unit is a connected component of these links with at least one token of each side. So
    " the" and "the" are a unit; the pieces of one character, which share its span, stay together;
    and a token that reaches over two tokens of the other side joins them. In a component no
    character is skipped, so a character that both sides cover is in exactly one unit.

    Tokens may come in any order, windows with repeated context too; ascending is fastest. Linear
    beside one sort; about 100 bytes a token while it runs.
    """
    sides = (a, b)
    used = [np.flatnonzero(side.keep & (side.stop > side.start)) for side in sides]
    # One axis for all documents, end to end; spans that only touch do not overlap.
    stride = max(int(side.stop.max(initial=0)) for side in sides)
    offset = np.concatenate(
        [stride * _taken(a.document, used[0]), stride * _taken(b.document, used[1])]
    )
    start = offset + np.concatenate((_taken(a.start, used[0]), _taken(b.start, used[1])))
    stop = offset + np.concatenate((_taken(a.stop, used[0]), _taken(b.stop, used[1])))
    order = np.argsort(start, kind="stable")
    start, stop, of_b = start[order], stop[order], order >= len(used[0])

    reach = np.maximum.accumulate(stop)
    opens = np.concatenate((np.ones(min(len(start), 1), np.bool_), start[1:] >= reach[:-1]))
    piece = np.cumsum(opens) - 1
    first = np.flatnonzero(opens)
    covered = [
        np.bincount(piece[side], _newly_covered(start[side], stop[side]), minlength=len(first))
        for side in (~of_b, of_b)
    ]
    is_unit = (covered[0] > 0) & (covered[1] > 0)
    number = np.where(is_unit, np.cumsum(is_unit) - 1, -1)

    unit = np.empty(len(order), np.int64)
    unit[order] = number[piece]
    unit_a, unit_b = (np.full(len(side.keep), -1, np.int64) for side in sides)
    unit_a[used[0]], unit_b[used[1]] = np.split(unit, [len(used[0])])

    last = np.append(first[1:], len(start))[: len(first)] - 1
    extent = reach[last] - start[first]
    # |A and B| = |A| + |B| - |A or B|, and a component has no hole.
    chars = (covered[0] + covered[1]).astype(np.int64) - extent
    return Units(unit_a, unit_b, start[first][is_unit] // stride, chars[is_unit])


def _taken(column: Integers, index: NDArray[np.int64]) -> NDArray[np.int64]:
    return column[index].astype(np.int64)


def _newly_covered(start: NDArray[np.int64], stop: NDArray[np.int64]) -> NDArray[np.int64]:
    """Characters of each span that no span before it covers; ``start`` ascends."""
    before = np.maximum.accumulate(stop)[:-1]
    covered = stop - start
    covered[1:] = np.maximum(stop[1:] - np.maximum(start[1:], before), 0)
    return covered


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the text and of the tokens takes part in a comparison; a state that merges."""

    aligned_chars: int
    """Code points that kept tokens of both sides cover."""
    text_chars: int
    """Code points of the documents that were aligned."""
    kept_a: int
    """Tokens of the first side under its mask, those without characters too."""
    aligned_a: int
    """Those of them that are in a unit."""
    kept_b: int
    aligned_b: int

    @classmethod
    def empty(cls) -> Self:
        return cls(0, 0, 0, 0, 0, 0)

    @classmethod
    def of(cls, a: Spans, b: Spans, units: Units, *, text_chars: int) -> Self:
        """Coverage of ``units`` = align(a, b); ``text_chars``: length of all the documents."""
        return cls(
            int(units.chars.sum()),
            text_chars,
            int(a.keep.sum()),
            int((units.unit_a >= 0).sum()),
            int(b.keep.sum()),
            int((units.unit_b >= 0).sum()),
        )

    def merge(self, other: Self) -> Self:
        return type(self)(
            self.aligned_chars + other.aligned_chars,
            self.text_chars + other.text_chars,
            self.kept_a + other.kept_a,
            self.aligned_a + other.aligned_a,
            self.kept_b + other.kept_b,
            self.aligned_b + other.aligned_b,
        )

    def finish(self) -> dict[str, float]:
        """Shares aligned, in [0, 1]: of ``text``, ``tokens_a``, ``tokens_b``; NaN of nothing."""
        return {
            "text": self.aligned_chars / (self.text_chars or np.nan),
            "tokens_a": self.aligned_a / (self.kept_a or np.nan),
            "tokens_b": self.aligned_b / (self.kept_b or np.nan),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        return pack(self)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        return unpack(cls, arrays)
