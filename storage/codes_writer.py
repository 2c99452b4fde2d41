"""Writing codes: three arrays and the postings of a shard, made to exist together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pyarrow as pa
import zarr
from numpy.typing import NDArray

from actlake.storage.arrays import TRAILER_BYTES, Chunk, create_array, publish_chunk
from actlake.storage.csr import INDPTR, Csr, fault_of, index_dtype
from actlake.storage.durable import Digest, digest
from actlake.storage.errors import InputError, NameTakenError, PrecisionError
from actlake.storage.fields import arrow_schema
from actlake.storage.keys import check_name, fingerprint, new_id
from actlake.storage.postings import encode_postings, postings_of
from actlake.storage.rowsets import Rowset
from actlake.storage.run import Run
from actlake.storage.shards import Receipt, receipts_table, refuse_committed
from actlake.storage.tensor_writer import publish_over_orphan
from actlake.storage.transaction import StagedRows, Transaction

__all__ = [
    "CodesPlan",
    "CodesShard",
    "codes_attributes",
    "commit_codes",
    "plan_codes",
    "publish_codes",
    "seal_codes",
    "write_array",
]


NOTHING = Chunk(Digest(0, ""), 0)
"""What is published of an array, or of postings, without values: no file."""


@dataclass(frozen=True, slots=True)
class CodesPlan:
    """What codes will be. All but the name goes into the fingerprint."""

    name: str
    dictionary: str
    dictionary_fingerprint: str
    n_features: int
    tensor: str
    tensor_fingerprint: str
    rowset: Rowset
    dtype: str
    """Of the values: float16 or float32."""

    def __post_init__(self) -> None:
        """InputError for another dtype."""
        if self.dtype not in ("float16", "float32"):
            raise InputError(
                f"values of codes are float16 or float32, not {self.dtype!r}; choose one"
            )

    def fingerprint(self) -> str:
        return fingerprint(
            "codes", self.dictionary_fingerprint, self.tensor_fingerprint, self.dtype
        )


@dataclass(frozen=True, slots=True)
class CodesShard:
    """A published shard of codes that waits for its commit."""

    receipts: tuple[Receipt, ...]
    postings: StagedRows | None
    """None where the shard has no values."""
    files: dict[str, Digest]


def plan_codes(run: Run, plan: CodesPlan) -> str:
    """Make the codes known; their id. Codes that are planned already keep theirs.

    Until the run ends, no other one writes codes of this name. NameTakenError if it means other
    codes.
    """
    check_name("codes", plan.name)
    run.hold(f"codes:{plan.name}")
    if run.exists("codes", "codes", plan.name, plan.fingerprint()):
        query = "SELECT id FROM codes WHERE codes = $name"
        [(known,)] = run.examine(lambda now: now.rows(query, name=plan.name))
        return str(known)
    codes_id = new_id()
    folder = run.root / "codes" / codes_id
    with run.store.new_folder(folder) as staged:
        zarr.create_group(store=staged, attributes=codes_attributes(plan))
        written = digest(staged / "zarr.json")
    row = {
        "codes": plan.name,
        "dictionary": plan.dictionary,
        "tensor": plan.tensor,
        "rowset": plan.rowset.name,
        "n_features": plan.n_features,
        "rows": plan.rowset.rows,
        "dtype": plan.dtype,
        "fingerprint": plan.fingerprint(),
        "id": codes_id,
        "path": f"codes/{codes_id}",
        "state": "planned",
        "run": run.run,
    }

    def check(transaction: Transaction) -> None:
        query = "SELECT codes FROM codes_sets WHERE codes = $name"
        if transaction.rows(query, name=plan.name):
            raise NameTakenError(f"a set of codes is called {plan.name}; choose another name")

    run.append(
        {"codes": pa.Table.from_pylist([row], arrow_schema("codes"))},
        f"planned codes {plan.name}",
        check=check,
        folders=[folder],
        files={f"codes/{codes_id}/zarr.json": written},
    )
    return codes_id


def codes_attributes(plan: CodesPlan) -> dict[str, str | int]:
    """What the Zarr group of codes says of them."""
    return {
        "codes": plan.name,
        "dictionary": plan.dictionary,
        "dictionary_fingerprint": plan.dictionary_fingerprint,
        "tensor": plan.tensor,
        "tensor_fingerprint": plan.tensor_fingerprint,
        "rowset": plan.rowset.name,
        "n_features": plan.n_features,
    }


def publish_codes(run: Run, plan: CodesPlan, codes_id: str, shard: int, block: Csr) -> CodesShard:
    """Write one shard's values; they exist once ``commit_codes`` has run.

    InputError if the block has another shape or is no CSR; PrecisionError if a value is not
    finite and positive in the stored dtype.
    """
    start, stop = span = plan.rowset.grid.span(shard)
    if block.rows != stop - start or block.n_features != plan.n_features:
        raise InputError(
            f"shard {shard} of codes {plan.name} cannot be of shape "
            f"{(block.rows, block.n_features)}; give {(stop - start, plan.n_features)}"
        )
    if fault := fault_of(block):
        raise InputError(f"shard {shard} of codes {plan.name}: {fault}; mend its CSR")
    stored = _stored(plan, block, span)
    folder = run.root / "codes" / codes_id / str(shard)
    chunks: dict[str, Chunk] = {}
    files: dict[str, Digest] = {}

    def publish() -> Chunk:
        arrays: dict[str, NDArray[Any]] = {
            "indptr": stored.indptr.astype(INDPTR),
            "indices": stored.indices,
            "values": stored.values,
        }
        with run.store.new_folder(folder) as staged:
            for name, values in arrays.items():
                chunks[name] = write_array(staged / name, values)
                place = f"codes/{codes_id}/{shard}/{name}/zarr.json"
                files[place] = digest(staged / name / "zarr.json")
        return chunks["values"]

    publish_over_orphan(run, codes_id, shard, folder, publish)
    postings = None
    chunks["postings"] = NOTHING  # DuckLake takes no Parquet file without rows
    if stored.nnz:
        content = encode_postings(postings_of(plan.name, stored, start))
        postings = run.catalog.stage_parquet("postings", content)
        chunks["postings"] = Chunk(postings.digest, google_crc32c.value(bytes(content)))
    return CodesShard(
        tuple(
            Receipt.of_chunk(codes_id, name, shard, span, chunk, run.run)
            for name, chunk in chunks.items()
        ),
        postings,
        files,
    )


def commit_codes(run: Run, shards: Sequence[CodesShard], message: str) -> None:
    """Make the shards exist, arrays and postings alike, all or none."""
    receipts = [receipt for shard in shards for receipt in shard.receipts]
    run.append(
        {"shards": receipts_table(receipts)},
        message,
        check=lambda transaction: refuse_committed(transaction, receipts),
        staged=[shard.postings for shard in shards if shard.postings is not None],
        files={path: one for shard in shards for path, one in shard.files.items()},
    )


def seal_codes(run: Run, plan: CodesPlan, codes_id: str) -> None:
    """Mark the codes as complete and count them; InputError if a shard is not committed."""
    item = np.dtype(plan.dtype).itemsize

    def change(transaction: Transaction) -> None:
        query = """SELECT bytes FROM shards WHERE owner = $id AND "array" = 'values'"""
        sizes = [int(str(size)) for (size,) in transaction.rows(query, id=codes_id)]
        if len(sizes) != len(plan.rowset.grid):
            raise InputError(
                f"codes {plan.name} have {len(sizes)} of {len(plan.rowset.grid)} shards, "
                "so they are not sealed; write the others first"
            )
        transaction.execute(
            "UPDATE codes SET state = 'sealed', nnz = $nnz WHERE id = $id",
            nnz=sum(max(0, size - TRAILER_BYTES) // item for size in sizes),
            id=codes_id,
        )

    run.commit(change, f"sealed codes {plan.name}")


def _stored(plan: CodesPlan, block: Csr, span: tuple[int, int]) -> Csr:
    with np.errstate(over="ignore"):
        values = block.values.astype(plan.dtype)
    if bad := int(np.count_nonzero(~(np.isfinite(values) & (values > 0)))):
        raise PrecisionError(
            f"codes {plan.name}, rows {span[0]:,} to {span[1]:,}: {bad:,} values are not finite "
            f"and positive as {plan.dtype}; store float32 instead"
        )
    return Csr(
        np.asarray(block.indptr, np.int64),
        np.asarray(block.indices, index_dtype(plan.n_features)),
        values,
        plan.n_features,
    )


def write_array(folder: Path, values: NDArray[Any]) -> Chunk:
    """Write an array of one chunk, shape (n,), into ``folder``; what its chunk is."""
    create_array(folder, values.shape, max(1, len(values)), values.dtype)
    # Zarr keeps no chunk of an empty array.
    return publish_chunk(folder, 0, values, len(values)) if len(values) else NOTHING
