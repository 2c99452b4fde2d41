"""The mergeable states that the laws hold: a new one joins CASES and is held to them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from actlake.analytics.activations.gram import Gram
from actlake.analytics.activations.moments import Moments
from actlake.analytics.evaluation.reconstruction import ReconstructionSums
from actlake.analytics.features.bottom_rows import BottomRows
from actlake.analytics.features.clustered_rates import RateSums
from actlake.analytics.features.cofirings import CoFirings, Margins, Sides
from actlake.analytics.features.contingency import ContingencyTables
from actlake.analytics.features.documents import FeatureDocuments
from actlake.analytics.features.gaps import FeatureGaps
from actlake.analytics.features.histogram import FeatureHistogram
from actlake.analytics.features.moments import FeatureMoments
from actlake.analytics.features.positions import FeaturePositions
from actlake.analytics.features.postings import Postings
from actlake.analytics.features.sources import FeatureSources
from actlake.analytics.features.tokens import FeatureTokens
from actlake.analytics.features.top_rows import TopRows
from actlake.analytics.hypotheses.pooling import DocumentPool
from actlake.analytics.similarity.correlation import CoGram, sparse
from actlake.analytics.similarity.cross_gram import CrossGram
from actlake.storage.csr import Csr, csr_from_dense

FEATURES, WIDTH, K = 5, 3, 4
EDGES = np.array([[0.5, 1.0], [1.0, 4.0], [2.0, 2.0], [0.0, 0.1], [np.nan, np.nan]])


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows with everything that a state may ask for."""

    start: int
    codes: Csr
    mask: NDArray[np.bool_]
    token_id: NDArray[np.int64]
    dense: NDArray[np.float64]
    rebuilt: NDArray[np.float64]
    document: NDArray[np.int64]
    size: NDArray[np.int64]
    """On the last row of a document how many it has, else 0."""

    def cut(self, start: int, stop: int) -> "Rows":
        inside = np.zeros(len(self.mask), np.bool_)
        inside[start:stop] = True
        span = slice(start, stop)
        return Rows(
            self.start + start,
            self.codes.keep(inside),
            self.mask[span],
            self.token_id[span],
            self.dense[span],
            self.rebuilt[span],
            self.document[span],
            self.size[span],
        )


@st.composite
def some_rows(draw: st.DrawFn) -> Rows:
    n, seed = draw(st.integers(0, 40)), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    values = rng.lognormal(0, 2, (n, FEATURES)) * (rng.random((n, FEATURES)) < rng.random(FEATURES))
    if draw(st.booleans()):
        values = np.ceil(values).clip(0, 2)  # ties
    offset = draw(st.sampled_from([0.0, 100.0]))
    document = np.cumsum(rng.random(n) < 0.2).astype(np.int64)
    position = np.arange(n) - np.searchsorted(document, document)
    return Rows(
        draw(st.integers(0, 2**40)),
        csr_from_dense(values, dtype="float32"),
        rng.random(n) < draw(st.sampled_from([0.0, 0.7, 1.0])),
        rng.integers(0, 6, n),
        rng.standard_normal((n, WIDTH)) + offset,
        rng.standard_normal((n, WIDTH)) + offset,
        document,
        np.where(np.diff(document, append=n + 1) != 0, position + 1, 0),
    )


State = Any
"""One of the states of CASES; each merges only with its own kind."""


@dataclass(frozen=True, slots=True)
class Case:
    empty: Callable[[], State]
    of: Callable[[Rows], State]
    exact: bool
    """Whether chunks give one pass's bits, or its numbers to 1e-9."""
    disjoint: bool = False
    """Whether a row that is merged twice is refused."""


def drawn(how: Callable[..., BottomRows]) -> Case:
    """Rows that are drawn from postings."""
    return Case(
        empty=lambda: BottomRows.empty(K, 1),
        of=lambda rows: how(
            Postings.of(rows.codes, rows.mask),
            row_start=rows.start,
            k=K,
            seed=1,
            context=rows.token_id,
        ),
        exact=True,
    )


CASES = {
    "Moments": Case(
        empty=lambda: Moments.empty(WIDTH),
        of=lambda rows: Moments.of(rows.dense),
        exact=False,
    ),
    "Gram": Case(
        empty=lambda: Gram.empty(WIDTH),
        of=lambda rows: Gram.of(rows.dense),
        exact=False,
    ),
    "FeatureMoments": Case(
        empty=lambda: FeatureMoments.empty(FEATURES),
        of=lambda rows: FeatureMoments.of(rows.codes, rows.mask),
        exact=False,
    ),
    "FeatureHistogram": Case(
        empty=lambda: FeatureHistogram.empty(FEATURES),
        of=lambda rows: FeatureHistogram.of(rows.codes, rows.mask),
        exact=True,
    ),
    "TopRows": Case(
        empty=lambda: TopRows.empty(FEATURES, K),
        of=lambda rows: TopRows.of(
            rows.codes, rows.mask, row_start=rows.start, k=K, context=rows.token_id
        ),
        exact=True,
    ),
    "FeatureTokens": Case(
        empty=lambda: FeatureTokens.empty(FEATURES),
        of=lambda rows: FeatureTokens.of(rows.codes, rows.mask, token_id=rows.token_id),
        exact=False,
    ),
    "FeatureDocuments": Case(
        empty=lambda: FeatureDocuments.empty(FEATURES),
        of=lambda rows: FeatureDocuments.of(
            Postings.of(rows.codes, rows.mask), document=rows.document, size=rows.size
        ),
        exact=True,
    ),
    "FeaturePositions": Case(
        empty=lambda: FeaturePositions.empty(FEATURES),
        of=lambda rows: FeaturePositions.of(
            Postings.of(rows.codes, rows.mask), position=rows.token_id
        ),
        exact=True,
    ),
    "FeatureSources": Case(
        empty=lambda: FeatureSources.empty(FEATURES),
        of=lambda rows: FeatureSources.of(
            Postings.of(rows.codes, rows.mask), source=rows.token_id - 1
        ),
        exact=True,
    ),
    "ContingencyTables": Case(
        empty=lambda: ContingencyTables.empty(FEATURES, EDGES),
        of=lambda rows: ContingencyTables.of(
            Postings.of(rows.codes, rows.mask),
            label=rows.token_id - 1,
            stratum=rows.document % 4 - 1,
            edges=EDGES,
        ),
        exact=True,
    ),
    "FeatureGaps": Case(
        empty=lambda: FeatureGaps.empty(FEATURES),
        of=lambda rows: FeatureGaps.of(
            Postings.of(rows.codes, rows.mask), row_start=rows.start, rows=len(rows.mask)
        ),
        exact=True,
        disjoint=True,
    ),
    "BottomRows.firing": drawn(BottomRows.firing),
    "BottomRows.by_value": drawn(BottomRows.by_value),
    "CoGram": Case(
        empty=lambda: CoGram.empty(1, 4, FEATURES),
        of=lambda rows: CoGram.of(rows.codes, rows.codes, start=1, stop=4),
        exact=False,
    ),
    "Margins": Case(
        empty=lambda: Margins.empty(FEATURES),
        of=lambda rows: Margins.of(rows.codes.keep(rows.mask)),
        exact=False,
    ),
    "CoFirings": Case(
        empty=lambda: CoFirings.empty(1, 4, FEATURES),
        of=lambda rows: CoFirings.of(Sides(rows.codes.keep(rows.mask)), start=1, stop=4),
        exact=False,
    ),
    "RateSums": Case(  # its documents are rows here, since each is in one block whole
        empty=lambda: RateSums.empty(FEATURES),
        of=lambda rows: RateSums.of(sparse(rows.codes.without(~rows.mask)), 9 * rows.mask),
        exact=False,
    ),
    "CrossGram": Case(
        empty=lambda: CrossGram.empty(WIDTH, WIDTH),
        of=lambda rows: CrossGram.of(rows.dense, rows.rebuilt),
        exact=False,
    ),
    "DocumentPool": Case(
        empty=lambda: DocumentPool.empty(6, FEATURES),
        of=lambda rows: DocumentPool.of(rows.codes, rows.token_id, rows.mask, documents=6),
        exact=False,
    ),
    "ReconstructionSums": Case(
        empty=lambda: ReconstructionSums.empty(WIDTH, FEATURES),
        of=lambda rows: ReconstructionSums.of(rows.dense, rows.rebuilt, rows.codes),
        exact=False,
    ),
}
