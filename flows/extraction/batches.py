"""Which windows share a forward pass: a pure function of their lengths and a budget."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from actlake.storage.errors import InputError


def plan_batches(
    lengths: Sequence[int] | NDArray[np.integer], token_budget: int
) -> list[NDArray[np.int64]]:
    """Indices of the windows of each batch, longest first, every window in exactly one batch.

    Longest length times count stays within ``token_budget``; a window longer than the budget is
    alone in its batch. Ties keep their order, so the plan depends on nothing but the arguments.
    """
    sizes = np.asarray(lengths, np.int64)
    if token_budget < 1:
        raise InputError(f"a token budget of {token_budget} holds no window; give at least 1")
    if sizes.size and sizes.min() < 1:
        raise InputError(f"window {int(sizes.argmin())} has no tokens; leave it out of the plan")
    order = np.argsort(-sizes, kind="stable").astype(np.int64)
    batches = []
    while order.size:
        count = max(1, token_budget // int(sizes[order[0]]))
        batches.append(order[:count])
        order = order[count:]
    return batches


def padding_share(
    lengths: Sequence[int] | NDArray[np.integer], batches: Sequence[NDArray[np.int64]]
) -> float:
    """Share in [0, 1) of the computed tokens that are padding; 0 for an empty plan."""
    sizes = np.asarray(lengths, np.int64)
    computed = sum(int(sizes[batch].max()) * len(batch) for batch in batches)
    return 1 - int(sizes.sum()) / computed if computed else 0.0
