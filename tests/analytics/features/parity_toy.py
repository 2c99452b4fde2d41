"""A toy of which every engine tells the same, and what merged sums make of moments and bins."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

N, F, DOCUMENT_ROWS, TOKENS = 4000, 6, 50, 30
GAMMA = 1.01 / 0.99
Found = dict[str, NDArray[Any]]
RNG = np.random.default_rng(0)
DENSE = (RNG.lognormal(0, 1, (N, F)) * (RNG.random((N, F)) < np.geomspace(0.01, 0.6, F))).astype(
    np.float32
)
TOKEN, DOCUMENT = RNG.integers(0, TOKENS, N), np.arange(N) // DOCUMENT_ROWS
LABEL = RNG.random(N) < 0.3 + 0.4 * (DENSE[:, 3] > 1)


def posted(chunks: list[int]) -> pd.DataFrame:
    row, feature = np.nonzero(DENSE)
    return pd.DataFrame(
        {
            "chunk": np.searchsorted(chunks, row, "right"),
            "feature": feature,
            "row": row,
            "value": DENSE[row, feature].astype(float),
            "token": TOKEN[row],
            "document": DOCUMENT[row],
            "label": LABEL[row],
        }
    )


def of_powers(n: Any, *sums: Any) -> Found:
    """Moments from the sums of powers of the values that fire."""
    found: Found = {"n_fires": np.asarray(n)}
    for name, of in (("active", np.asarray(n)), ("all", np.full(F, N))):
        m1, m2, m3, m4 = (np.asarray(one) / of for one in sums)
        variance = m2 - m1**2
        found[f"mean_{name}"], found[f"std_{name}"] = m1, np.sqrt(variance)
        found[f"skew_{name}"] = (m3 - 3 * m1 * m2 + 2 * m1**3) / variance**1.5
        fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
        found[f"kurtosis_{name}"] = fourth / variance**2 - 3
    return found


def of_bins(feature: Any, bins: Any, count: Any) -> Found:
    """The histogram, in order of feature and bin, and two of its quantiles."""
    rows = np.stack((feature, bins, count), axis=1).astype(np.int64)
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    active, everywhere = np.zeros((2, F))
    for one in range(F):
        mine = rows[rows[:, 0] == one]
        held = np.repeat(2 * GAMMA ** mine[:, 1].astype(float) / (GAMMA + 1), mine[:, 2])
        active[one] = held[int(0.9 * (len(held) - 1))]
        everywhere[one] = np.concatenate((np.zeros(N - len(held)), held))[int(0.99 * (N - 1))]
    return {"histogram": rows, "q90_active": active, "q99_all": everywhere}
