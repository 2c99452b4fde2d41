"""The shard grid of a rowset, and the receipts that make a shard exist."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actlake.storage.arrays import Chunk
from actlake.storage.errors import InputError
from actlake.storage.fields import arrow_schema
from actlake.storage.handle import Connection
from actlake.storage.seen_shards import ANY
from actlake.storage.transaction import Transaction

__all__ = [
    "Grid",
    "Receipt",
    "by_shard",
    "choose_shard_rows",
    "committed_shards",
    "receipts_table",
    "refuse_committed",
    "shards_told",
]

SHARD_BYTES = 64 << 20
FEWEST_SHARDS = 8
WIDTH_HINT = 4096


@dataclass(frozen=True, slots=True)
class Grid:
    """How the rows of a rowset are cut: one grid for all of its tensors and codes."""

    rows: int
    shard_rows: int

    def __len__(self) -> int:
        return -(-self.rows // self.shard_rows)

    def span(self, shard: int) -> tuple[int, int]:
        """First row and row after the last of ``shard``."""
        return shard * self.shard_rows, min((shard + 1) * self.shard_rows, self.rows)

    def rows_of(self, shard: int) -> int:
        """How many ``shard`` has."""
        first, after = self.span(shard)
        return after - first

    def pieces(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """The parts of rows [start, stop) in each shard, as (shard, first, after last) in it."""
        while start < stop:
            shard = start // self.shard_rows
            first, after = self.span(shard)
            yield shard, start - first, min(stop, after) - first
            start = after

    def slice_of(self, start: int | None, stop: int | None) -> tuple[int, int]:
        """Python's meaning of ``[start:stop]`` over these rows."""
        first, after, _ = slice(start, stop).indices(self.rows)
        return first, max(first, after)


def by_shard(
    index: NDArray[np.integer[Any]], shard_rows: int
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """Each shard that has one of the rows ``index``, by number: where in ``index`` they are,
    ascending, and which rows of the shard they are."""
    shards, offsets = np.divmod(np.asarray(index, np.int64), shard_rows)
    # One sort, however many shards there are, and next to none where the rows are in order.
    order = np.argsort(shards, kind="stable")
    edges = np.flatnonzero(np.diff(shards[order])) + 1
    for here in np.split(order, edges) if len(order) else ():
        yield int(shards[here[0]]), here, offsets[here]


def choose_shard_rows(rows: int, width_hint: int = WIDTH_HINT) -> int:
    """The largest power of two that fills 64 MiB in float16 and still gives eight shards.

    One row a shard where there are too few rows for eight shards of more.
    """
    if width_hint < 1:
        raise InputError(f"width_hint is {width_hint}; it is the width of the widest tensor")
    shard_rows = 1
    while (
        shard_rows * 2 * width_hint * 2 <= SHARD_BYTES
        and -(-rows // (shard_rows * 2)) >= FEWEST_SHARDS
    ):
        shard_rows *= 2
    return shard_rows


@dataclass(frozen=True, slots=True)
class Receipt:
    """One row of ``shards``: what a worker published for one array of one shard."""

    owner: str
    array: str
    shard: int
    row_start: int
    row_stop: int
    bytes: int
    payload_crc32c: int
    xxh3_128: str
    nonfinite: int
    norm_mean: float | None
    token_budget: int | None
    torch_threads: int | None
    run: str

    @classmethod
    def of_chunk(
        cls,
        owner: str,
        array: str,
        shard: int,
        span: tuple[int, int],
        chunk: Chunk,
        run: str,
        *,
        nonfinite: int = 0,
        norm_mean: float | None = None,
        token_budget: int | None = None,
        torch_threads: int | None = None,
    ) -> "Receipt":
        return cls(
            owner=owner,
            array=array,
            shard=shard,
            row_start=span[0],
            row_stop=span[1],
            bytes=chunk.digest.bytes,
            payload_crc32c=chunk.payload_crc32c,
            xxh3_128=chunk.digest.xxh3_128,
            nonfinite=nonfinite,
            norm_mean=norm_mean,
            token_budget=token_budget,
            torch_threads=torch_threads,
            run=run,
        )


def shards_told(shards: Sequence[int]) -> str:
    """For people, of ascending numbers: ``shard 3``, ``shards 3 to 7`` or ``3 shards, 0 to 7``."""
    first, last = shards[0], shards[-1]
    if len(shards) == 1:
        return f"shard {first}"
    whole = len(shards) == last - first + 1
    return f"shards {first} to {last}" if whole else f"{len(shards)} shards, {first} to {last}"


def receipts_table(receipts: Iterable[Receipt]) -> pa.Table:
    """The receipts as rows of ``shards``."""
    return pa.Table.from_pylist([asdict(one) for one in receipts], arrow_schema("shards"))


def committed_shards(connection: Connection, owner: str) -> set[int]:
    """Shards of the tensor or codes with the id ``owner`` that are committed now."""
    query = "SELECT DISTINCT shard FROM shards WHERE owner = $owner"
    return {shard for (shard,) in connection.execute(query, {"owner": owner}).fetchall()}


def refuse_committed(transaction: Transaction, receipts: Iterable[Receipt]) -> None:
    """InputError if a shard exists or comes twice; called before the receipts are registered."""
    wanted = set[tuple[str, str, int]]()
    for one in receipts:
        key = one.owner, one.array, one.shard
        if key in wanted:
            raise InputError(
                f"shard {one.shard} of {one.array} of {one.owner} came twice; give it once"
            )
        wanted.add(key)
    appender, doubts = transaction.appender, dict[str, str]()
    for owner in sorted({owner for owner, _, _ in wanted}):
        shards = {shard for one, _, shard in wanted if one == owner}
        doubt = "these" if appender is None else appender.seen.doubt(appender, owner, shards)
        if doubt != "none":
            doubts[owner] = doubt
    if not doubts:
        return
    of_all = "all" in doubts.values()
    asked = [shard for owner, _, shard in wanted if owner in doubts]
    low, high = ANY if of_all else (min(asked), max(asked))
    # By the range of shards DuckLake opens only files that may hold such a row.
    query = """
        SELECT owner, "array", shard FROM shards
        WHERE owner IN (SELECT unnest($owners)) AND shard BETWEEN $low AND $high
    """
    found = transaction.rows(query, owners=[*doubts], low=low, high=high)
    for owner, array, shard in sorted(wanted.intersection(found)):
        raise InputError(
            f"shard {shard} of {array} of {owner} is already committed; shards are "
            "immutable: run again to do only what is missing"
        )
    if of_all and appender is not None:
        for owner in doubts:
            theirs = [int(str(shard)) for one, _, shard in found if one == owner]
            appender.seen.saw(appender, owner, theirs)
