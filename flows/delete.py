"""delete: something with a name, and with ``cascade`` what was made of it."""

from typing import Any

from actlake.flows.progress import say
from actlake.storage.deletion import Deletion, plan_deletion, refuse_dependants
from actlake.storage.deletion import delete as delete_named
from actlake.storage.keys import Json
from actlake.storage.lake import Lake

__all__ = ["delete", "would_delete"]


def would_delete(lake: Lake, *, kind: str, name: str) -> Deletion:
    """What goes with the thing of that name; NotFoundError if there is none."""

    def rows(query: str, **parameters: Any) -> list[tuple[object, ...]]:
        return [*lake.sql(query, **parameters).rows()]

    return plan_deletion(rows, lake.store, kind, name)


def delete(lake: Lake, *, kind: str, name: str, cascade: bool = False) -> Deletion:
    """The thing is gone from the newest snapshot; what went.

    kind
        model, corpus, rowset, tensor, dictionary, codes or mask.
    cascade
        Delete what was made of it as well, which else is an InputError.

    Older snapshots still show it, until ``gc`` forgets them and removes the files. The name is
    free again.
    """
    refuse_dependants(would_delete(lake, kind=kind, name=name), cascade=cascade)
    parameters: dict[str, Json] = {"kind": kind, "name": name, "cascade": cascade}
    # The same name may be made and deleted again, which is other work.
    with lake.run("delete", parameters, {"snapshot": str(lake.newest_snapshot())}) as run:
        deletion = delete_named(run, kind, name, cascade=cascade)
    others = f", with {deletion.dependants()}" if deletion.dependants() else ""
    say(f"delete: {kind} {name} is gone{others}; its files go with `actlake gc`")
    return deletion
