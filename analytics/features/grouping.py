"""Sums by key: what every sparse count table is made and merged with."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def sum_by_key(
    keys: NDArray[np.int64], *weights: NDArray[Any]
) -> tuple[NDArray[np.int64], list[NDArray[Any]]]:
    """The distinct ``keys``, ascending, and the sum of each of ``weights`` over equal keys.

    Equal keys are added in the order in which they stand.
    """
    order = stable_order(keys)
    ordered = keys[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))  # keys are never negative
    return ordered[starts], [np.add.reduceat(weight[order], starts) for weight in weights]


def stable_order(keys: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """The order of ``keys``, rising; equal ones as they stand.

    One sort of plain numbers, a key and its place in each, where both fit into 63 bits: several
    times as fast as a stable ``numpy.argsort``.
    """
    if len(keys) < 2:
        return np.arange(len(keys))
    lowest, bits = int(keys.min()), (len(keys) - 1).bit_length()
    if (int(keys.max()) - lowest) >> (63 - bits):
        return np.argsort(keys, kind="stable")
    packed: NDArray[np.int64] = np.subtract(keys, lowest, dtype=np.int64) << bits
    packed |= np.arange(len(keys))
    packed.sort()
    packed &= (1 << bits) - 1
    return packed


def within_group(ordered: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Each element's place, from 0, among the equal elements of an ``ordered`` array."""
    starts = np.flatnonzero(np.diff(ordered.astype(np.int64), prepend=-1))
    lengths = np.diff(starts, append=len(ordered))
    return np.arange(len(ordered)) - np.repeat(starts, lengths)


def consecutive(weights: NDArray[np.int64], most: int) -> list[tuple[int, int]]:
    """Ranges [start, stop) of all elements, of weights that add up to ``most``, or of one."""
    sums = np.concatenate(([0], np.cumsum(weights)))
    ranges, start = [], 0
    while start < len(weights):
        stop = int(np.searchsorted(sums, sums[start] + most, "right")) - 1
        ranges.append((start, max(stop, start + 1)))
        start = ranges[-1][1]
    return ranges


def distinct(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The different ``values`` >= 0, ascending; numpy's own hashes them, which is far slower."""
    ordered = np.sort(values)
    found: NDArray[np.int64] = ordered[np.diff(ordered, prepend=-1) != 0]
    return found


def may_be_first(
    group: NDArray[np.integer[Any]], order: NDArray[np.uint32], k: int
) -> NDArray[np.bool_]:
    """Which entries may be among the ``k`` of smallest ``order`` of their ``group``; shape (n,).

    At least those are true, and equal ones with them: one sort of plain 64-bit keys finds the few
    that are worth ranking by more than one key. Groups lie in [0, 2^32).
    """
    if len(group) == 0:
        return np.zeros(0, np.bool_)
    keys = (group.astype(np.uint64) << np.uint64(32)) | order
    ordered = np.sort(keys)
    of_group = (ordered >> np.uint64(32)).astype(np.int64)
    starts = np.flatnonzero(np.diff(of_group, prepend=-1))
    last = np.minimum(starts + k, np.append(starts[1:], len(keys))) - 1
    limit: NDArray[np.bool_] = keys <= ordered[last][np.searchsorted(of_group[starts], group)]
    return limit


def ordered_by(keys: NDArray[np.uint64], ties: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The order of ``keys``, rising, and of ``ties`` among equal ones; what ties there, too, stays
    as it stands.

    Several times as fast as ``numpy.lexsort`` where few keys are equal.
    """
    order = np.argsort(keys)
    same = np.diff(keys[order]) == 0
    tied = np.append(same, False) | np.insert(same, 0, False)
    if len(keys) and tied.any():
        some = np.sort(order[tied])
        order[tied] = some[np.lexsort((ties[some], keys[some]))]
    return order


def first_contexts(
    group: NDArray[np.integer[Any]], context: NDArray[np.int64], k: int
) -> NDArray[np.int64]:
    """Places of the ``k`` first entries of each group, an entry of a context that it has left out.

    ``group`` is ordered, and the entries of a group stand in the order that is to be kept.
    """
    place = within_group(group)
    starts = place == 0
    number = np.cumsum(starts) - 1
    length = np.diff(np.flatnonzero(starts), append=len(group))
    chosen = np.flatnonzero(place < 2 * k)
    chosen = chosen[_new(number[chosen], context[chosen])]
    # Few groups repeat so much that fewer than k of twice as many are left: those are read whole.
    short = (np.bincount(number[chosen], minlength=len(length)) < k) & (length > 2 * k)
    if short.any():
        whole = np.flatnonzero(short[number])
        whole = whole[_new(number[whole], context[whole])]
        chosen = np.sort(np.concatenate((chosen[~short[number[chosen]]], whole)))
    found: NDArray[np.int64] = chosen[within_group(number[chosen]) < k]
    return found


def _new(group: NDArray[np.int64], context: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each entry is the first of its group and context; groups are never negative."""
    rising = np.argsort(context)
    number = np.empty(len(context), np.int64)  # of each different context
    number[rising] = np.cumsum(np.diff(context[rising], prepend=context[rising[:1]]) != 0)
    keys = group * (len(context) + 1) + number
    order = stable_order(keys)
    found = np.ones(len(group), np.bool_)
    found[order[1:][np.diff(keys[order]) == 0]] = False
    return found


def leading(
    group: NDArray[np.int64],
    high: NDArray[np.uint32],
    ties: NDArray[np.uint64],
    context: NDArray[np.int64],
    k: int,
) -> NDArray[np.int64]:
    """Which entries are the ``k`` first of their group by ``high``, then ``ties``, in that order.

    Of the entries of a group that share a context only the first counts. Groups lie in [0, 2^32),
    and come out ascending.
    """

    def first(some: NDArray[np.int64]) -> NDArray[np.int64]:
        keys = (group[some].astype(np.uint64) << np.uint64(32)) | high[some]
        order = some[ordered_by(keys, ties[some])]
        found: NDArray[np.int64] = order[first_contexts(group[order], context[order], k)]
        return found

    near = may_be_first(group, high, 2 * k)
    chosen = first(np.flatnonzero(near))
    many = int(group.max(initial=-1)) + 1
    short = np.bincount(group[chosen], minlength=many) < k
    short &= np.bincount(group, ~near, many) > 0
    return first(np.flatnonzero(near | short[group])) if short.any() else chosen
