"""In how many documents each feature fires, and how unevenly."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.features.grouping import sum_by_key
from actlake.analytics.features.postings import Ints, Postings
from actlake.analytics.statistic import Arrays, pack, require_same, unpack

WIDEST = 1 << 32
"""More than any document's number or its rows, so that feature and it fit one 64-bit key."""


@dataclass(frozen=True, slots=True)
class FeatureDocuments:
    """For each feature, how many documents hold how many rows on which it fires.

    A document counts once all of its rows are seen; until then it is open, and kept by itself. A
    block has at most two that are, its first and its last, so the state's size depends on the
    features and not on the documents.
    """

    n_features: int
    n_documents: int
    """Whole documents with a row under the mask, whether or not a feature fires in them."""
    feature: Ints
    """Shape (pairs,), ascending; with ``fires`` the key."""
    fires: Ints
    """Firing rows a document, > 0."""
    documents: Ints
    """Whole documents that hold so many."""
    open_document: Ints
    """Documents of which rows are missing, ascending; shape (open,)."""
    open_rows: Ints
    """Rows of each that were seen, under the mask or not."""
    open_kept: Ints
    """Of those, rows under the mask."""
    open_size: Ints
    """Rows of each in all; 0 until the block with its last row is merged."""
    open_feature: Ints
    """Shape (open pairs,), ascending; with ``open_in`` the key."""
    open_in: Ints
    open_fires: Ints

    @classmethod
    def empty(cls, n_features: int) -> Self:
        return cls(n_features, 0, *(np.zeros(0, np.int64) for _ in range(10)))

    @classmethod
    def of(
        cls, postings: Postings, *, document: NDArray[np.integer[Any]], size: NDArray[Any]
    ) -> Self:
        """The state of a block whose rows belong to ``document``, shape (rows of the block,).

        ``size``, of the same shape, says how many rows a document has: on each of its rows, or
        on its last one alone and 0 on the others.
        """
        present, place = np.unique(document, return_inverse=True)
        sizes = np.zeros(len(present), np.int64)
        np.maximum.at(sizes, place, size)
        found = postings.by(place)
        kept = np.zeros(len(present), np.int64)
        kept[found.seen] = found.seen_rows
        none = np.zeros(0, np.int64)
        state = cls(
            postings.n_features,
            0,
            none,
            none,
            none,
            present.astype(np.int64),
            np.bincount(place, minlength=len(present)).astype(np.int64),
            kept,
            sizes,
            found.feature,
            present[found.group].astype(np.int64),
            found.count,
        )
        return state._closed(state.open_rows == state.open_size)

    def merge(self, other: Self) -> Self:
        require_same("n_features", self.n_features, other.n_features)
        documents = np.concatenate((self.open_document, other.open_document))
        document, (rows, kept) = sum_by_key(
            documents,
            np.concatenate((self.open_rows, other.open_rows)),
            np.concatenate((self.open_kept, other.open_kept)),
        )
        size = np.zeros(len(document), np.int64)
        sizes = np.concatenate((self.open_size, other.open_size))
        np.maximum.at(size, np.searchsorted(document, documents), sizes)
        pairs = [
            _summed(
                np.concatenate((getattr(self, first), getattr(other, first))),
                np.concatenate((getattr(self, second), getattr(other, second))),
                np.concatenate((getattr(self, count), getattr(other, count))),
            )
            for first, second, count in (
                ("feature", "fires", "documents"),
                ("open_feature", "open_in", "open_fires"),
            )
        ]
        n_documents = self.n_documents + other.n_documents
        state = type(self)(
            self.n_features, n_documents, *pairs[0], document, rows, kept, size, *pairs[1]
        )
        return state._closed(rows == size)

    def _closed(self, whole: NDArray[np.bool_]) -> Self:
        """The same, with the open documents where ``whole`` counted among the others."""
        if not whole.any():
            return self
        done = whole[np.searchsorted(self.open_document, self.open_in)]
        closed = _summed(
            np.concatenate((self.feature, self.open_feature[done])),
            np.concatenate((self.fires, self.open_fires[done])),
            np.concatenate((self.documents, np.ones(int(done.sum()), np.int64))),
        )
        return type(self)(
            self.n_features,
            self.n_documents + int((self.open_kept[whole] > 0).sum()),
            *closed,
            self.open_document[~whole],
            self.open_rows[~whole],
            self.open_kept[~whole],
            self.open_size[~whole],
            self.open_feature[~done],
            self.open_in[~done],
            self.open_fires[~done],
        )

    def closed(self) -> Self:
        """The same, with every document counted as it is, so that none is known by its number.

        Documents of another corpus, which has the same numbers, can be merged with those then.
        """
        return self._closed(np.ones(len(self.open_document), np.bool_))

    def finish(self) -> dict[str, NDArray[Any]]:
        """Columns of feature_statistics, each of shape (n_features,).

        ``n_documents`` with a row under the mask; ``n_documents_fires``, those in which the
        feature fires; ``gini_documents``, the Gini coefficient of its firing rows a document over
        all of them, silent ones too: 0 where all hold as many, near 1 where one holds all; NaN if
        it never fires. Documents that are still open count as they are.

        Source: Gini (1912), "Variabilità e mutabilità".
        """
        state = self.closed()
        fired = _per_feature(state, state.documents)
        rows = _per_feature(state, state.fires * state.documents)
        # Documents in order of their firing rows, silent ones first: the places of each group.
        before = np.cumsum(state.documents) - state.documents
        before -= (np.cumsum(fired) - fired)[state.feature]
        before += (state.n_documents - fired)[state.feature]
        places = state.documents * before + state.documents * (state.documents + 1) // 2
        weighted = np.bincount(
            state.feature, weights=(places * state.fires).astype(float), minlength=self.n_features
        )
        n = max(state.n_documents, 1)
        gini = 2 * weighted / (n * np.maximum(rows, 1)) - (n + 1) / n
        return {
            "n_documents": np.full(self.n_features, state.n_documents, np.int64),
            "n_documents_fires": fired,
            "gini_documents": np.where(rows > 0, np.maximum(gini, 0), np.nan),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        return pack(self)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        return unpack(cls, arrays)


def _summed(feature: Ints, other: Ints, count: Ints) -> tuple[Ints, Ints, Ints]:
    keys, (count,) = sum_by_key(feature * WIDEST + other, count)
    return keys // WIDEST, keys % WIDEST, count


def _per_feature(state: FeatureDocuments, count: Ints) -> Ints:
    total = np.zeros(state.n_features, np.int64)
    np.add.at(total, state.feature, count)
    return total
