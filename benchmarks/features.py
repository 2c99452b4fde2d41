"""What people ask of features: contexts, examples, partners and labels."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import scipy.sparse

from actlake.flows.summarize import summarize
from actlake.flows.summarize_labels import summarize_labels
from actlake.flows.summarize_pairs import summarize_pairs
from actlake.storage import Codes, Lake
from benchmarks.feature_lake import Masks, compact, lake_of, postings_of
from benchmarks.latent_peers import open_delphi, open_sklearn
from benchmarks.measure import Benchmark, Case, Side, timed
from benchmarks.peer import Peer, installed
from benchmarks.sizes import Sizes

SHOWN, EXAMPLES = 100, 20
CALLS = 20
"""Features asked for one by one in a round."""
PARTNERS = 20
"""Of each feature, which is what ``summarize-pairs`` keeps."""
LABELLED = 4
"""Features of which scikit-learn's time is taken; each costs the same."""


def asking(sizes: Sizes, folder: Path) -> Benchmark:
    """Codes of as many rows and features as ``summarize`` is measured with, compacted."""
    lake = lake_of(sizes, folder)
    compact(lake)
    codes = lake.codes("codes")
    work = f"{postings_of(lake):,} postings × {codes.n_features:,} features, {len(codes):,} rows"
    with ExitStack() as opened:
        delphi, sklearn = (
            (open_delphi(opened, folder, lake), open_sklearn(opened, folder, lake))
            if installed()
            else (None, None)
        )
        yield from _shown(lake, codes, work, sizes, delphi)
        yield from _counted(lake, codes, work, delphi, sklearn)


def _shown(lake: Lake, codes: Codes, work: str, sizes: Sizes, delphi: Peer | None) -> Benchmark:
    def some(number: int, count: int) -> list[int]:
        random = np.random.default_rng(number)
        return [int(one) for one in random.integers(0, codes.n_features, count)]

    def each(number: int, ask: Callable[[int], object]) -> float:
        features = some(number, CALLS)
        return timed(lambda: [ask(feature) for feature in features]) / CALLS

    def theirs(count: int, shown: int) -> dict[str, Side]:
        if delphi is None:
            return {}

        def side(number: int) -> float:
            return delphi.seconds("examples", latents=some(number, count), shown=shown)

        return {"Delphi": side}

    yield Case(
        "contexts of a feature",
        f"the {SHOWN} strongest of {work}",
        "its postings alone",
        {
            "actlake": lambda n: each(n, lambda one: lake.contexts("codes", one, limit=SHOWN)),
            "its postings alone": lambda n: each(n, codes.postings),
            **theirs(1, SHOWN),
        },
        allowed={"actlake": 0.020},
    )
    summarize(lake, codes="codes", mask="all")
    many = sizes.asked_features
    yield Case(
        f"examples of {many:,} features",
        f"{EXAMPLES} of each of {work}",
        "their rows alone",
        {
            "actlake": lambda n: timed(
                lambda: lake.contexts_of("codes", some(n, many), limit=EXAMPLES)
            ),
            "their rows alone": lambda n: timed(lambda: _rows(lake, some(n, many))),
            **theirs(many, EXAMPLES),
        },
        allowed={"actlake": 2.0},
    )


def _counted(
    lake: Lake, codes: Codes, work: str, delphi: Peer | None, sklearn: Peer | None
) -> Benchmark:
    masks = Masks(lake)

    def pairs(_number: int) -> float:
        return timed(lambda: summarize_pairs(lake, codes="codes", mask=masks.new()))

    def labels(level: str) -> Side:
        def side(_number: int) -> float:
            return timed(
                lambda: summarize_labels(
                    lake,
                    codes="codes",
                    label="topic",
                    level=level,
                    mask=masks.new(),
                    min_fires=1,
                )
            )

        return side

    def areas(number: int) -> float:
        assert sklearn is not None
        random = np.random.default_rng(number)
        latents = random.choice(codes.n_features, LABELLED, replace=False)
        return sklearn.seconds("areas", latents=latents.tolist())

    yield Case(
        "co-firing of all pairs",
        work,
        "scipy: XᵀX in memory",
        {
            "actlake": pairs,
            "scipy: XᵀX in memory": lambda _: timed(lambda: _joint(codes)),
            **({} if delphi is None else {"Delphi": delphi.side("neighbours", shown=PARTNERS)}),
        },
        allowed={"actlake": 10.0},
    )
    yield Case(
        "features × 20 labels",
        work,
        "a sort of the values within features",
        {
            "actlake, documents": labels("document"),
            "a sort of the values within features": lambda _: timed(lambda: _sorted(codes)),
            "actlake, rows": labels("token"),
            **({} if sklearn is None else {f"scikit-learn, rows, from {LABELLED} features": areas}),
        },
        allowed={"actlake, documents": 3.0, "actlake, rows": 3.0},
    )


def _rows(lake: Lake, features: list[int]) -> None:
    query = """
        SELECT feature, "row", value FROM feature_examples
        WHERE codes = 'codes' AND mask = 'all' AND kind = 'top' AND list_contains($wanted, feature)
    """
    lake.sql(query, wanted=features).arrow()


def _joint(codes: Codes) -> None:
    block = codes[:]
    ones = np.ones(block.nnz, np.float32)
    matrix = scipy.sparse.csr_array((ones, block.indices, block.indptr), codes.shape)
    matrix.T @ matrix


def _sorted(codes: Codes) -> None:
    block = codes[:]
    np.lexsort((block.values, block.indices))
