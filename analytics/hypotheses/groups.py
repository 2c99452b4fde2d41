"""Which groups of documents are for training, choosing and testing."""

from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from actlake.analytics.evaluation.split import SPLITS
from actlake.analytics.hypotheses.labels import numbered
from actlake.analytics.splitmix import splitmix64
from actlake.storage.errors import InputError

TRIES = 32
"""Orders of the groups that are tried for balance."""


def split_groups(
    group: NDArray[Any],
    stratum: NDArray[Any] | None = None,
    *,
    shares: tuple[float, float, float] = (0.5, 0.2, 0.3),
    seed: int = 0,
) -> NDArray[np.int8]:
    """The split of each document as an index into ``SPLITS``, -1 where a label is missing.

    All documents of a group are on one side. ``group`` and ``stratum``, shape (documents,), are
    labels of any kind. Documents, not groups, hold the ``shares`` as nearly as whole groups allow
    under the best of 32 orders drawn from ``seed`` and the groups' values; the order of documents
    does not matter. A ``stratum`` that is constant within groups, such as the target's class, is
    balanced the same way, and each part gets groups of each class; one that varies within groups
    is ignored. A part with share 0 stays empty.

    Raises InputError if there are fewer groups, or groups of one class, than parts.
    """
    if min(shares) < 0 or not np.isclose(sum(shares), 1) or shares[0] == 0:
        raise InputError(f"split shares {shares} do not sum to 1; give three such as 0.5 0.2 0.3")
    number, groups = numbered(group)
    if stratum is None:
        stratum_number, strata = np.zeros(len(group), np.int64), np.array(["all"])
    else:
        stratum_number, strata = numbered(stratum)
    number = np.where(stratum_number < 0, -1, number)
    used = number >= 0
    sizes = np.bincount(number[used], minlength=len(groups))
    class_of = np.zeros(len(groups), np.int64)
    class_of[number[used]] = stratum_number[used]
    if (class_of[number[used]] != stratum_number[used]).any():
        class_of[:] = 0
        strata = np.array(["all"])

    parts = np.flatnonzero(np.array(shares) > 0)
    wanted = np.array(shares)[parts]
    _require_groups(int(np.count_nonzero(sizes)), len(parts))
    hashes = np.array([_hash(value, seed) for value in groups.tolist()], np.uint64)
    part = np.full(len(groups), -1, np.int8)
    for level, name in enumerate(strata):
        members = np.flatnonzero((class_of == level) & (sizes > 0))
        if len(strata) > 1 and len(members) < len(parts):
            raise InputError(
                f"class {name!s} has {len(members)} of the groups and the split has {len(parts)} "
                "parts; choose a class of more groups, or group by a label with more values"
            )
        part[members] = parts[_balanced(sizes[members], hashes[members], wanted)]
    return np.where(used, part[number], -1).astype(np.int8)


def _require_groups(groups: int, parts: int) -> None:
    if groups >= max(parts, 2):
        return
    parts_are = f"{parts} parts ({', '.join(SPLITS[:parts])})" if parts == 3 else f"{parts} parts"
    raise InputError(
        f"{groups} group{'s' * (groups != 1)} cannot be split into {parts_are}; "
        "group the documents by a label with more values"
    )


def _hash(value: object, seed: int) -> int:
    """The same for 3 and 3.0: a label column turns to floats when it has gaps."""
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return xxhash.xxh3_64_intdigest(text.encode(), seed)


def _balanced(
    sizes: NDArray[np.int64], hashes: NDArray[np.uint64], shares: NDArray[np.float64]
) -> NDArray[np.int64]:
    """The part of each group, none empty; the best balanced in documents of ``TRIES`` orders."""
    best, lowest = np.zeros(len(sizes), np.int64), np.inf
    for attempt in range(TRIES):
        order = np.argsort(splitmix64(hashes, attempt), kind="stable")
        room = shares * sizes.sum()
        part = np.zeros(len(sizes), np.int64)
        empty = np.ones(len(shares), np.bool_)
        for left, one in zip(range(len(order), 0, -1), order, strict=True):
            open_parts = np.flatnonzero(empty) if left <= empty.sum() else np.arange(len(shares))
            part[one] = open_parts[np.argmax(room[open_parts])]
            room[part[one]] -= sizes[one]
            empty[part[one]] = False
        unevenness = float(np.square(room / shares).sum())
        if unevenness < lowest:
            best, lowest = part, unevenness
    return best
