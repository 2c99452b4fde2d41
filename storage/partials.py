"""Partials: the state of a statistic over one shard, kept so that a rebuild is a merge."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from xxhash import xxh3_128_hexdigest

from actlake.storage.arrays import corrupt, sound_content
from actlake.storage.durable import Digest
from actlake.storage.errors import BusyError, CorruptError
from actlake.storage.fields import arrow_schema
from actlake.storage.keys import new_id
from actlake.storage.reading import Reading
from actlake.storage.run import Run
from actlake.storage.store import Store
from actlake.storage.transaction import Transaction

__all__ = [
    "Slices",
    "commit_partials",
    "open_slices",
    "partial_bytes",
    "partial_row",
    "read_partial",
    "stored_partials",
    "write_partial",
]


Slices = Callable[[str, int, int], NDArray[Any]]
"""Of an array's name, its entries from one on and before another, at least one: a copy of them."""
WIDE = "wide"
"""What a file says of the types that arrays are to have."""
KEY = ("codes", "mask", "statistic", "shard", "code_version")


def write_partial(store: Store, arrays: Mapping[str, NDArray[Any]]) -> tuple[str, Digest]:
    """Write a state's arrays; the file's path in the lake, and what it must be."""
    path = f"partials/{new_id()}.safetensors"
    return path, store.publish(store.root / path, [partial_bytes(arrays)])


def partial_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The content of the file of a state: each array in the smallest type that has its values to
    the last bit, beside a word on the type that it is to have again."""
    kept = {name: _narrowed(one) for name, one in arrays.items()}
    wide = {name: one.dtype.name for name, one in arrays.items() if one.dtype != kept[name].dtype}
    # In one word, since safetensors puts several in any order, and a repair makes the same bytes.
    return bytes(safetensors.numpy.save(kept, metadata={WIDE: json.dumps(wide)}))


def _narrowed(array: NDArray[Any]) -> NDArray[Any]:
    if not array.size:
        return array
    if array.dtype == np.int64:
        low, high = int(array.min()), int(array.max())
        dtype = np.min_scalar_type(high if low >= 0 else min(low, -high - 1))
        return array.astype(dtype) if dtype.itemsize < array.itemsize else array
    if array.dtype == np.float64:
        with np.errstate(over="ignore"):
            for small in (array.astype(np.float16), array.astype(np.float32)):
                if (small == array).all():
                    return small
    return array


def _wide(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """The type that each array which was narrowed had."""
    found: dict[str, str] = json.loads((metadata or {}).get(WIDE, "{}"))
    return found


def read_partial(store: Store, path: str, expected: Digest) -> dict[str, NDArray[Any]]:
    """The arrays of a state; CorruptError if the file is not what was committed."""
    content = sound_content(
        store,
        store.root / path,
        "a partial",
        lambda content: Digest(len(content), xxh3_128_hexdigest(content)) == expected,
    )
    length = int.from_bytes(content[:8], "little")  # of the JSON that begins a safetensors file
    wide = _wide(json.loads(bytes(content[8 : 8 + length])).get("__metadata__"))
    arrays = safetensors.numpy.load(content)
    return {name: one.astype(wide.get(name, one.dtype), copy=False) for name, one in arrays.items()}


def open_slices(store: Store, path: str) -> Slices:
    """What gives parts of the arrays of a state, mapped and not checked: for one that
    ``read_partial`` has just checked, of which not all is to be held.

    The map stays as it is whatever becomes of the file's name; it takes no open file. CorruptError
    if the file is gone or cut.
    """
    file = store.root / path
    try:
        arrays = safetensors.safe_open(store.local(file), framework="numpy")
    except (OSError, safetensors.SafetensorError) as error:
        raise corrupt(file, "a partial", f"has changed ({error})") from error

    wide = _wide(arrays.metadata())  # type: ignore[no-untyped-call] # theirs

    def slices(name: str, start: int, stop: int) -> NDArray[Any]:
        part: NDArray[Any] = arrays.get_slice(name)[start:stop]  # type: ignore[no-untyped-call] # theirs
        return part.astype(wide.get(name, part.dtype), copy=False)

    return slices


def partial_row(
    run: Run,
    codes: str,
    mask: str,
    statistic: str,
    shard: int,
    code_version: str,
    path: str,
    written: Digest,
) -> dict[str, object]:
    """A row of ``partials``."""
    return {
        "codes": codes,
        "mask": mask,
        "statistic": statistic,
        "shard": shard,
        "code_version": code_version,
        "path": path,
        "bytes": written.bytes,
        "xxh3_128": written.xxh3_128,
        "run": run.run,
    }


def commit_partials(run: Run, rows: Sequence[dict[str, object]], message: str) -> None:
    """Make the partials exist, all or none; BusyError if another run has just made one of them."""
    table = pa.Table.from_pylist(list(rows), arrow_schema("partials"))
    files = {str(row["path"]): Digest(int(str(row["bytes"])), str(row["xxh3_128"])) for row in rows}

    def check(transaction: Transaction) -> None:
        query = """
            SELECT shard, codes FROM partials
            WHERE (codes, mask, statistic, shard, code_version) IN (
                SELECT (unnest($codes), unnest($mask), unnest($statistic), unnest($shard),
                    unnest($code_version))
            ) LIMIT 1
        """
        keys = {name: [row[name] for row in rows] for name in KEY}
        for shard, codes in transaction.rows(query, **keys):
            raise BusyError(
                f"another run has just kept the same of shard {shard} of {codes}; "
                "run this again to see what is left to do"
            )

    run.append({"partials": table}, message, check=check, files=files)


def stored_partials(
    reading: Reading, codes: str, mask: str, code_version: str | Sequence[str]
) -> dict[tuple[str, int], tuple[str, Digest]]:
    """Path and digest of every committed partial of a version, by (statistic, shard).

    A version is of one statistic, so several of different statistics do not meet.
    """
    query = """
        SELECT statistic, shard, path, bytes, xxh3_128 FROM partials
        WHERE codes = $codes AND mask = $mask AND code_version IN (SELECT unnest($versions))
    """
    versions = [code_version] if isinstance(code_version, str) else [*code_version]
    parameters = {"codes": codes, "mask": mask, "versions": versions}
    reading.table("partials", codes=(codes, codes))
    rows = reading.connection().execute(query, parameters).fetchall()
    if any(value is None for row in rows for value in row):  # which no column allows
        raise CorruptError(
            f"partials of {codes} are not what was committed; run `actlake verify` and restore a "
            "backup"
        )
    return {
        (statistic, shard): (path, Digest(size, hash_))
        for statistic, shard, path, size, hash_ in rows
    }
