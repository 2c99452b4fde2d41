"""Names that a lake has given out: what each table of named things calls them."""

from collections.abc import Sequence

from actlake.storage.errors import NameTakenError
from actlake.storage.handle import Connection

__all__ = ["NAMED", "TABLE_OF", "is_made", "means_the_same"]

NAMED = {
    "models": "model",
    "corpora": "corpus",
    "rowsets": "rowset",
    "tensors": "tensor",
    "dictionaries": "dictionary",
    "codes": "codes",
    "masks": "mask",
}
"""Tables with a row for each name, and the column of the name; each has a fingerprint beside it."""
TABLE_OF = {kind: table for table, kind in NAMED.items()}


def is_made(connection: Connection, table: str, name: str, fingerprint: str) -> bool:
    """Whether ``table`` has this very thing; NameTakenError if the name means something else."""
    query = f"SELECT fingerprint FROM {table} WHERE {NAMED[table]} = $name"  # noqa: S608 ours
    found = connection.execute(query, {"name": name}).fetchall()
    return means_the_same(NAMED[table], name, fingerprint, found)


def means_the_same(
    kind: str, name: str, fingerprint: str, found: Sequence[tuple[object, ...]]
) -> bool:
    """Whether ``found``, the fingerprints under a name, is this one; False if there is none.

    NameTakenError if the name means something else.
    """
    if found and found != [(fingerprint,)]:
        raise NameTakenError(
            f"the {kind} name {name!r} is taken: it was made from other inputs or settings; "
            "choose another name"
        )
    return bool(found)
