"""Some columns of a site: ``mlp_act.3[0:64,100]`` is the first 64 of them and the hundredth."""

import re

import numpy as np
from numpy.typing import NDArray

from actlake.storage.errors import InputError

__all__ = ["cut_columns", "split_columns"]

_PART = re.compile(r"(\d{1,9})(?::(\d{1,9})(?::(\d{1,9}))?)?")


def split_columns(site: str) -> tuple[str, tuple[int, ...] | None]:
    """The place that ``site`` names and its wanted columns in order; None for all of them.

    In brackets stand single columns and ranges ``start:stop`` or ``start:stop:step``, the stop not
    included. They rise and none comes twice, so that a list has one order: InputError else.
    """
    if not site.endswith("]"):
        return site, None
    place, _, text = site[:-1].partition("[")
    columns: list[int] = []
    for part in text.split(","):
        found = _PART.fullmatch(part)
        if found is None or found[3] == "0" or (found[2] and int(found[2]) >= 1 << 24):
            raise InputError(
                f"site {site} has no columns {part!r}; give numbers and ranges, such as "
                f"{place}[0:64,100]"
            )
        first, stop, step = (None if one is None else int(one) for one in found.groups())
        columns += range(first or 0, stop, step or 1) if stop is not None else [first or 0]
    if not columns or (np.diff(columns) <= 0).any():
        raise InputError(
            f"the columns of site {site} do not rise; give each once, the smallest first"
        )
    return place, tuple(columns)


def cut_columns(
    values: NDArray[np.float32], columns: tuple[int, ...] | None
) -> NDArray[np.float32]:
    """Those columns of ``values``, shape (n, width); all of them where ``columns`` is None."""
    return values if columns is None else values[:, columns]
