"""Lakes and runs in another process: they travel as where they are, and are opened anew there.

A worker publishes what it computes; whoever started the run keeps its claims alive and commits.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from actlake.storage.errors import InputError
from actlake.storage.settings import read_settings

if TYPE_CHECKING:
    from actlake.storage.claims import Claim
    from actlake.storage.lake import Lake
    from actlake.storage.reading import Mode
    from actlake.storage.run import Run

__all__ = ["joined", "opened"]


def opened(root: Path, lake: str, snapshot: int | None, mode: "Mode") -> "Lake":
    """The lake at ``root``, opened anew.

    InputError if the one that is there on this machine has not the id ``lake``.
    """
    from actlake.storage.lake import Lake

    if read_settings(root).lake != lake:
        raise InputError(
            f"{root} is another lake on this machine; give every worker the same folder, or a copy "
            "of its lake.toml at the same path"
        )
    one = Lake.open(root, verify=mode)
    return one if snapshot is None else one.at(snapshot)


def joined(
    root: Path, run: str, key: str, flow: str, claim: "Claim", held: tuple["Claim", ...]
) -> "Run":
    """The run that another process has started: what it looks at under the lock, and commits, is
    refused once somebody else has taken its work over."""
    from actlake.storage.catalog import Catalog
    from actlake.storage.claims import Claims
    from actlake.storage.databases import database_at
    from actlake.storage.run import Run
    from actlake.storage.stores import store_at

    settings = read_settings(root)
    claims = Claims(database_at(root, settings.catalog))
    catalog = Catalog(store_at(root, settings.store), claims)
    one = Run(run, key, flow, root, catalog, claims, claim, ExitStack())
    one._holding = {mine.key: mine for mine in held}
    return one
