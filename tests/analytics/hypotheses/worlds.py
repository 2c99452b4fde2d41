"""Document features as sparse and as alike within groups as those of a real corpus."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from actlake.analytics.hypotheses.pooling import Pooled


def world(
    groups: int, *, documents: int = 480, features: int = 300, seed: int = 0
) -> tuple[Pooled, NDArray[np.int64]]:
    """Pooled features and the group of each document, groups of unequal size.

    Features fire in 5 to 40 % of documents; a latent correlation within groups of 0.15 leaves
    about 0.07 in the values. Lengths vary.
    """
    rng = np.random.default_rng(seed)
    sizes = 4 + rng.multinomial(documents - 4 * groups, rng.dirichlet(np.full(groups, 4.0)))
    group = np.repeat(np.arange(groups), sizes)
    latent = np.sqrt(0.15) * rng.normal(size=(groups, features))[group]
    latent += np.sqrt(0.85) * rng.normal(size=(documents, features))
    threshold = [
        np.quantile(column, rate)
        for column, rate in zip(latent.T, rng.uniform(0.6, 0.95, features), strict=True)
    ]
    values = np.where(latent > threshold, np.exp(latent - threshold), 0)
    return Pooled(csr_array(values), rng.integers(40, 200, documents)), group


def nested_world(
    groups: int, *, features: int = 30, seed: int = 0
) -> tuple[Pooled, NDArray[np.int64], NDArray[np.int64]]:
    """Pooled features, groups of 4 to 8 units, and these units of 2 documents.

    Groups and units are the same for every seed. Both have effects of their own on the logarithm
    of each feature, of the same size as what is left to documents. Features fire in a third of
    documents.
    """
    rng = np.random.default_rng(seed)
    group_of_unit = np.repeat(np.arange(groups), 4 + np.arange(groups) % 5)
    unit = np.repeat(np.arange(len(group_of_unit)), 2)
    group = group_of_unit[unit]
    latent = rng.normal(size=(groups, features))[group]
    latent += rng.normal(size=(len(group_of_unit), features))[unit]
    latent += rng.normal(size=(len(unit), features))
    values = np.where(latent > 0.75, np.exp(0.6 * latent), 0)
    return Pooled(csr_array(values), rng.integers(40, 200, len(unit))), group, unit
