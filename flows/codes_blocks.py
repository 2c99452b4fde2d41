"""The codes under a mask, row by row in blocks of bounded size."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from actlake.storage.codes import Codes
from actlake.storage.csr import Csr
from actlake.storage.errors import IncompleteError, InputError
from actlake.storage.lake import Lake
from actlake.storage.masks import Mask

__all__ = [
    "LEVELS",
    "blocks",
    "documents_before",
    "documents_of",
    "finished_codes",
    "masked_shards",
    "require_rows",
]

LEVELS = ("token", "document")
ROWS = 1 << 22
"""Of which the mask is asked for at once."""


def finished_codes(lake: Lake, name: str) -> Codes:
    """The codes of that name; NotFoundError without them, IncompleteError if shards are missing."""
    codes = lake.codes(name)
    if missing := codes.missing():
        raise IncompleteError(
            f"codes {name} lack {len(missing)} of {len(codes.grid)} shards; "
            "finish encoding them first"
        )
    return codes


def masked_shards(
    lake: Lake, codes: Codes, mask: Mask, wanted: Sequence[int] | None = None
) -> Iterator[tuple[int, NDArray[np.bool_], NDArray[np.int64]]]:
    """Each shard, which of its rows are under the mask, and the document of each of its rows.

    ``wanted`` are consecutive shards; by default all.
    """
    grid, rowset = codes.grid, codes.rowset
    several = max(ROWS // grid.shard_rows, 1)
    asked = range(len(grid)) if wanted is None else wanted
    for first in range(0, len(asked), several):
        shards = asked[first : first + several]
        start, stop = grid.span(shards[0])[0], grid.span(shards[-1])[1]
        # One query for all of them: each takes a tenth of a second.
        kept = lake.mask_rows(mask, rowset, start, stop)
        document = rowset.column("document", start, stop).astype(np.int64)
        for shard in shards:
            inside = slice(*(edge - start for edge in grid.span(shard)))
            yield shard, kept[inside], document[inside]


def require_rows(lake: Lake, codes: Codes, mask: Mask) -> None:
    """InputError if no row is under the mask."""
    if not any(kept.any() for _, kept, _ in masked_shards(lake, codes, mask)):
        raise InputError(
            f"no row of {codes.rowset.name} is under the mask {mask.name}, so there is nothing to "
            "count; choose another mask"
        )


def blocks(lake: Lake, members: Sequence[Codes], mask: Mask, *, most: int) -> Iterator[Csr]:
    """All rows under the mask, in order, one codes after the other, ``most`` values at a time,
    unless one shard has more."""
    waiting: list[Csr] = []
    values = 0
    for codes in members:
        for shard, kept, _ in masked_shards(lake, codes, mask):
            one = codes.shard(shard).keep(kept)
            if waiting and values + one.nnz > most:
                yield _joined(waiting)
                waiting, values = [], 0
            waiting.append(one)
            values += one.nnz
    yield _joined(waiting)


def _joined(parts: Sequence[Csr]) -> Csr:
    ends = np.cumsum([0, *(one.nnz for one in parts)])
    starts = [one.indptr[1:] + end for one, end in zip(parts, ends[:-1], strict=True)]
    return Csr(
        np.concatenate(([0], *starts)).astype(np.int64),
        np.concatenate([one.indices for one in parts]),
        np.concatenate([one.values for one in parts]),
        parts[0].n_features,
    )


def documents_before(lake: Lake, members: Sequence[Codes]) -> NDArray[np.int64]:
    """How many documents the corpora before that of each member have, and all of them, shape
    (members + 1,): by these, documents are numbered one corpus after the other."""
    return np.cumsum([0, *(documents_of(lake, one) for one in members)])


def documents_of(lake: Lake, codes: Codes) -> int:
    """How many documents the corpus of the codes has."""
    query = "SELECT documents FROM corpora WHERE corpus = $corpus"
    [(documents,)] = lake.sql(query, corpus=codes.rowset.corpus).rows()
    return int(str(documents))
