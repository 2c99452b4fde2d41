"""Which rows are shown of a feature: examples that a summary kept, or its strongest postings."""

from collections.abc import Sequence
from typing import Any

from actlake.storage.codes import Codes
from actlake.storage.errors import InputError, NotFoundError
from actlake.storage.handle import first_row
from actlake.storage.keys import sought
from actlake.storage.reading import Bounds, Reading

__all__ = ["KINDS", "Example", "example_rows", "is_set", "members_of_set", "rows_of_set"]

KINDS = ("top", "quantile", "random", "silent", "negative")
"""Of examples: the strongest rows; some of each tenth by value; some on which the feature fires;
some on which it is silent; and some on which it is silent although the token is one of its own."""

Example = tuple[int, float, int | None]
"""Row, value, and how many rows have the same tokens on and around them, itself counted; None
where that was not counted."""


def example_rows(
    reading: Reading, codes: Codes, features: Sequence[int], mask: str, limit: int, kind: str
) -> dict[int, list[Example]]:
    """The examples of a kind of each feature, in order, as summarized under ``mask``.

    Without a summary the strongest come from postings where the mask is all; InputError otherwise.
    """
    _check(codes, features, limit, kind)
    found: dict[int, list[Example]] = {feature: [] for feature in features}
    if not found:
        return found
    rows = _kept(reading, codes.name, features, mask, limit, kind, "row", "value", "n_alike")
    if not rows:
        if mask == "all" and kind == "top":
            rows = _strongest(reading, codes.name, features, limit)
        else:
            _require_summary(reading, codes.name, mask)
    for feature, *example in rows:
        found[feature].append((*example,))
    return found


def rows_of_set(
    reading: Reading,
    name: str,
    member: Codes,
    features: Sequence[int],
    mask: str,
    limit: int,
    kind: str,
) -> list[tuple[str, int, int, Example]]:
    """Of the examples of a kind of a set, of which ``member`` is one: the codes that the row is of,
    feature, rank, and the example."""
    _check(member, features, limit, kind)
    columns = "member", "rank", "row", "value", "n_alike"
    found = _kept(reading, name, features, mask, limit, kind, *columns)
    return [(of, feature, rank, (*example,)) for feature, of, rank, *example in found]


def _kept(
    reading: Reading,
    name: str,
    features: Sequence[int],
    mask: str,
    limit: int,
    kind: str,
    *columns: str,
) -> list[Any]:
    """The feature and some columns of examples that a summary kept, in order."""
    if not features:
        return []
    within = _within(name, features) | {"mask": (mask, mask)}
    if not reading.may_hold("feature_examples", **within):
        return []
    needed = sorted({"kind", "rank", *columns})
    source = reading.source("feature_examples", *needed, **within)
    shown = ", ".join(f'"{column}"' for column in columns)
    query = f"""
        SELECT feature, {shown} FROM {source}
        WHERE codes = $codes AND mask = $mask AND kind = $kind AND feature {_among(features)}
        QUALIFY row_number() OVER (PARTITION BY feature ORDER BY rank) <= $limit
        ORDER BY feature, rank
    """  # noqa: S608 - ours
    asked = {"codes": name, "mask": mask, "kind": kind, "features": [*features], "limit": limit}
    return reading.connection().execute(query, asked).fetchall()


def _strongest(reading: Reading, name: str, features: Sequence[int], limit: int) -> list[Any]:
    """The same of postings, where no summary kept any."""
    source = reading.source("postings", "row", "value", **_within(name, features))
    order = 'ORDER BY feature, value DESC, "row"'
    # Of one feature only the strongest are kept on the way; ranks put all in order.
    most = f"{order} LIMIT $limit"
    if len(features) > 1:
        ranks = 'row_number() OVER (PARTITION BY feature ORDER BY value DESC, "row")'
        most = f"QUALIFY {ranks} <= $limit {order}"
    query = f"""
        SELECT feature, "row", value, NULL FROM {source}
        WHERE codes = $codes AND feature {_among(features)} {most}
    """  # noqa: S608 - ours
    asked = {"codes": name, "features": [*features], "limit": limit}
    return reading.connection().execute(query, asked).fetchall()


def _require_summary(reading: Reading, name: str, mask: str) -> None:
    reading.table("feature_statistics", codes=(name, name))
    query = "SELECT count(*) FROM feature_statistics WHERE codes = $codes AND mask = $mask"
    found = reading.connection().execute(query, {"codes": name, "mask": mask})
    if first_row(found) == (0,):
        raise InputError(
            f"codes {name} are not summarized under the mask {mask}; "
            "run `actlake summarize` first, or use the mask all"
        )


def _within(name: str, features: Sequence[int]) -> dict[str, Bounds]:
    return {"codes": (name, name), "feature": (min(features), max(features))}


def _among(features: Sequence[int]) -> str:
    """A condition on a feature; of one an equality, which leaves out most of a file."""
    return "= $features[1]" if len(features) == 1 else "IN (SELECT unnest($features))"


def members_of_set(reading: Reading, name: str, mask: str) -> list[str]:
    """The codes of the set of that name; none if it is none. InputError under another mask."""
    found = _sets(reading, name)
    members = [str(member) for under, member in found if under == mask]
    if found and not members:
        raise InputError(
            f"the set {name} is not summarized under the mask {mask}; run `actlake summarize` "
            "first, or use another mask"
        )
    return members


def is_set(reading: Reading, name: str) -> bool:
    """Whether a set of codes has that name, under any mask."""
    return bool(_sets(reading, name))


def _sets(reading: Reading, name: str) -> list[tuple[str, str]]:
    """Mask and member of each codes of the set of that name."""
    if ("codes_sets",) not in reading.connection().execute("SHOW TABLES").fetchall():
        return []  # at a snapshot from before there were any
    reading.table("codes_sets")
    query = "SELECT mask, member FROM codes_sets WHERE codes = $name ORDER BY mask, place"
    return reading.connection().execute(query, {"name": sought(name)}).fetchall()


def _check(codes: Codes, features: Sequence[int], limit: int, kind: str) -> None:
    if kind not in KINDS:
        raise InputError(f"no examples of the kind {kind!r}; choose one of {', '.join(KINDS)}")
    if limit < 1:
        raise InputError(f"{limit} contexts cannot be shown; ask for 1 or more")
    for feature in features:
        if not 0 <= feature < codes.n_features:
            raise NotFoundError(
                f"codes {codes.name} have no feature {feature}; choose 0 to {codes.n_features - 1}"
            )
