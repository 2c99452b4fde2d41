"""Which rows are shown of a feature: examples that a summary kept, or its strongest postings."""

from collections.abc import Sequence

from actlake.storage.codes import Codes
from actlake.storage.errors import InputError, NotFoundError
from actlake.storage.handle import first_row
from actlake.storage.keys import sought
from actlake.storage.reading import Bounds, Reading

__all__ = ["KINDS", "Example", "example_rows", "members_of_set", "rows_of_set"]

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
    connection = reading.connection()
    # Of one feature an equality, which leaves out most of a file.
    which = "= $features[1]" if len(found) == 1 else "IN (SELECT unnest($features))"
    named = {"codes": codes.name, "features": [*found], "limit": limit}
    span: dict[str, Bounds] = {"codes": (codes.name,) * 2, "feature": (min(found), max(found))}
    summarized = f"""
        SELECT feature, "row", value, n_alike FROM feature_examples
        WHERE codes = $codes AND mask = $mask AND feature {which} AND kind = $kind
        QUALIFY row_number() OVER (PARTITION BY feature ORDER BY rank) <= $limit
        ORDER BY feature, rank
    """  # noqa: S608 - ours
    rows = []
    if reading.may_hold("feature_examples", **span):
        reading.table("feature_examples", **span)
        rows = connection.execute(summarized, named | {"mask": mask, "kind": kind}).fetchall()
    if not rows:
        if mask != "all" or kind != "top":
            reading.table("feature_statistics", codes=(codes.name,) * 2)
            other = "SELECT count(*) FROM feature_statistics WHERE codes = $codes AND mask = $mask"
            if first_row(connection.execute(other, {"codes": codes.name, "mask": mask})) == (0,):
                raise InputError(
                    f"codes {codes.name} are not summarized under the mask {mask}; "
                    "run `actlake summarize` first, or use the mask all"
                )
            return found
        every = f"""
            SELECT feature, "row", value, NULL FROM postings
            WHERE codes = $codes AND feature {which}
            QUALIFY row_number() OVER (PARTITION BY feature ORDER BY value DESC, "row") <= $limit
            ORDER BY feature, value DESC, "row"
        """  # noqa: S608 - ours
        reading.table("postings", **span)
        rows = connection.execute(every, named).fetchall()
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
    query = """
        SELECT member, feature, rank, "row", value, n_alike FROM feature_examples
        WHERE codes = $codes AND mask = $mask AND feature IN (SELECT unnest($features))
            AND kind = $kind
        QUALIFY row_number() OVER (PARTITION BY feature ORDER BY rank) <= $limit
    """
    reading.table("feature_examples", codes=(name, name))
    asked = {"codes": name, "mask": mask, "features": [*features], "kind": kind, "limit": limit}
    found = reading.connection().execute(query, asked).fetchall()
    return [(of, feature, rank, (*example,)) for of, feature, rank, *example in found]


def members_of_set(reading: Reading, name: str, mask: str) -> list[str]:
    """The codes of the set of that name; none if it is none. InputError under another mask."""
    if ("codes_sets",) not in reading.connection().execute("SHOW TABLES").fetchall():
        return []  # at a snapshot from before there were any
    reading.table("codes_sets")
    query = "SELECT mask, member FROM codes_sets WHERE codes = $name ORDER BY mask, place"
    found = reading.connection().execute(query, {"name": sought(name)}).fetchall()
    members = [str(member) for under, member in found if under == mask]
    if found and not members:
        raise InputError(
            f"the set {name} is not summarized under the mask {mask}; run `actlake summarize` "
            "first, or use another mask"
        )
    return members


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
