"""What plots and the page are made of: which codes are summarized, how dictionaries score."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actlake.storage.errors import InputError, NotFoundError
from actlake.storage.example_rows import is_set
from actlake.storage.lake import Lake

__all__ = ["FLAGS", "Score", "Summary", "flags", "refuse_unknown", "scores", "summaries"]

SPLIT = "holdout"
FLAGS = (
    "is_dead",
    "is_rare",
    "is_dense",
    "is_always_on",
    "is_ultra_low_density",
    "is_single_token",
    "is_positional",
    "is_duplicate",
)
"""Of feature_summary, which says what each means."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Codes whose features are summarized under a mask."""

    codes: str
    mask: str
    n_rows: int
    n_features: int


@dataclass(frozen=True, slots=True)
class Score:
    """How well a dictionary rebuilds held-out rows of a tensor."""

    dictionary: str
    tensor: str
    mask: str
    n: int
    """Rows it was computed over."""
    metrics: dict[str, float]
    """As in the table ``evaluations``, without those that are NaN."""


def summaries(lake: Lake, codes: str | None = None, mask: str | None = None) -> list[Summary]:
    """The summaries of ``codes`` (or of all) under ``mask``, or under each one's newest mask.

    By name of the codes; a set of codes is only told of where it is asked for. InputError if there
    is none.
    """
    found = lake.sql(
        """
        SELECT codes, mask, max(n_rows) AS n_rows, count(*) AS n_features FROM feature_statistics
        WHERE mask = coalesce($mask, mask)
            AND (codes = $codes OR ($codes IS NULL AND codes IN (SELECT codes FROM codes)))
        GROUP BY codes, mask ORDER BY codes, max(run), mask
        """,
        codes=codes,
        mask=mask,
    )
    rows = [Summary(**row) for row in found.arrow().to_pylist()]
    newest = {summary.codes: summary for summary in rows}  # the last of each is the newest
    if not newest:
        if codes is not None:
            refuse_unknown(lake, codes)
        what = "no codes are" if codes is None else f"codes {codes} are not"
        where = "" if mask is None else f" under the mask {mask}"
        raise InputError(f"{what} summarized{where} in {lake.root}; run `actlake summarize` first")
    return list(newest.values())


def refuse_unknown(lake: Lake, name: str) -> None:
    """NotFoundError where neither codes nor a set of them have the name."""
    try:
        lake.codes(name)
    except NotFoundError:
        if not is_set(lake.reading, name):
            raise


def flags(feature: Mapping[str, Any]) -> list[str]:
    """The flags that a row of feature_summary raises, in words."""
    return [one.removeprefix("is_").replace("_", " ") for one in FLAGS if feature[one]]


def scores(lake: Lake, dictionary: str | None = None, mask: str | None = None) -> list[Score]:
    """Every dictionary that has an FVU on held-out rows, by name; none if nothing is evaluated."""
    rows = lake.sql(
        """
        SELECT dictionary, tensor, mask, n, metric, value FROM evaluations
        WHERE split = $split AND dictionary = coalesce($dictionary, dictionary)
            AND mask = coalesce($mask, mask) AND NOT isnan(value)
        ORDER BY dictionary, tensor, mask, run
        """,
        split=SPLIT,
        dictionary=dictionary,
        mask=mask,
    )
    found: dict[tuple[str, str, str, int], dict[str, float]] = {}
    for row in rows.arrow().to_pylist():
        metric, value = row.pop("metric"), row.pop("value")
        found.setdefault(tuple(row.values()), {})[metric] = value
    return [Score(*key, metrics) for key, metrics in found.items() if "fvu" in metrics]
