"""New generations: what a tensor, codes or rowset holds, under a new id, with some rows empty.

Nothing is written over. Shards that stay the same are linked, so that a generation costs the bytes
of the shards that it changes; what the old one was named by is replaced in the commit that takes
the new one in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.storage.arrays import Chunk, publish_chunk
from actlake.storage.codes import Codes
from actlake.storage.codes_writer import write_array
from actlake.storage.csr import INDPTR
from actlake.storage.durable import Digest
from actlake.storage.keys import new_id
from actlake.storage.precision import mean_of, row_norms
from actlake.storage.rowsets import Rowset
from actlake.storage.run import Run
from actlake.storage.shards import Receipt
from actlake.storage.tensor_arrays import (
    array_folder,
    arrays_of,
    empty_rows,
    metadata_files,
    tensor_chunk,
    values_of,
)
from actlake.storage.tensors import Tensor
from actlake.storage.transaction import Transaction

__all__ = ["Generation", "codes_without", "rowset_without", "swap", "tensor_without"]

EMPTY = {"token_id": -1, "char_start": 0, "char_stop": 0}
"""What columns of a rowset hold where there is no text."""


@dataclass(frozen=True, slots=True)
class Generation:
    """Files that wait for the commit that puts them in the place of others."""

    kind: str
    """tensor, codes or rowset."""
    name: str
    fingerprint: str
    old_id: str
    new_id: str
    folder: Path
    receipts: tuple[Receipt, ...]
    """Of what was written anew; what was linked keeps its own."""
    files: Mapping[str, Digest]
    """The other files, by their path in the lake."""
    nnz: int | None = None
    """Values of sealed codes."""


def tensor_without(
    run: Run,
    tensor: Tensor,
    rows: NDArray[np.int64],
    computed: Mapping[int, tuple[int | None, int | None]],
) -> Generation:
    """The committed shards of ``tensor``, in which ``rows`` are read as NaN.

    ``computed`` says with what token budget and how many threads each shard was.
    """
    generation = new_id()
    receipts = []
    dtype = tensor.stored_dtype
    with run.store.new_folder(run.root / "tensors" / generation) as folder:
        for file in metadata_files(dtype):
            _link(run, tensor.folder, folder, generation, file)
        for shard in tensor.committed:
            start, stop = tensor.grid.span(shard)
            here = rows[(rows >= start) & (rows < stop)] - start
            if not len(here):
                for array in arrays_of(dtype, tensor.width):
                    inside = tensor_chunk(Path(), dtype, array, shard).as_posix()
                    _link(run, tensor.folder, folder, generation, inside)
                continue
            stored = {array: np.array(held) for array, held in tensor.stored(shard).items()}
            empty_rows(stored, here)
            kept = tensor.rowset.present(start, stop)
            kept[here] = False
            for array, held in stored.items():
                place = array_folder(folder, dtype, array)
                place.mkdir(exist_ok=True)  # a store may link without one
                receipts.append(
                    Receipt.of_chunk(
                        generation,
                        array,
                        shard,
                        (start, stop),
                        publish_chunk(place, shard, held, tensor.grid.shard_rows),
                        run.run,
                        nonfinite=int((~kept).sum()) * held[:1].size,
                        norm_mean=mean_of(row_norms(values_of(stored)[kept]))
                        if array == "rows"
                        else None,
                        token_budget=computed[shard][0],
                        torch_threads=computed[shard][1],
                    )
                )
    return _generation(run, "tensor", tensor, generation, receipts)


def rowset_without(run: Run, rowset: Rowset, rows: NDArray[np.int64]) -> Generation:
    """The columns of ``rowset``, with no token and no span in ``rows``."""
    generation = new_id()
    receipts = []
    with run.store.new_folder(run.root / "rowsets" / generation) as folder:
        anew = {}
        for name, empty in EMPTY.items():
            for shard in np.unique(rows // rowset.shard_rows).tolist():
                start, stop = rowset.grid.span(shard)
                values = rowset.column(name, start, stop)
                values[rows[(rows >= start) & (rows < stop)] - start] = empty
                anew[f"{name}/c.{shard}"] = (name, shard, values)
        for one in run.store.files(rowset.folder):
            inside = one.path.relative_to(rowset.folder).as_posix()
            if inside not in anew:
                _link(run, rowset.folder, folder, generation, inside)
        for name, shard, values in anew.values():
            (folder / name).mkdir(exist_ok=True)  # a store may link without one
            chunk = publish_chunk(folder / name, shard, values, rowset.shard_rows)
            span = rowset.grid.span(shard)
            receipts.append(Receipt.of_chunk(generation, name, shard, span, chunk, run.run))
    return _generation(run, "rowset", rowset, generation, receipts)


def codes_without(run: Run, codes: Codes, rows: NDArray[np.int64]) -> Generation:
    """The committed shards of ``codes``, with no values in ``rows``; their postings apart."""
    generation = new_id()
    receipts = []
    nnz = sum(codes.values_of_shard.values())
    with run.store.new_folder(run.root / "codes" / generation) as folder:
        for shard in codes.values_of_shard:
            start, stop = span = codes.grid.span(shard)
            here = np.zeros(stop - start, bool)
            here[rows[(rows >= start) & (rows < stop)] - start] = True
            if not here.any():
                for one in run.store.files(codes.folder / str(shard)):
                    inside = one.path.relative_to(codes.folder).as_posix()
                    _link(run, codes.folder, folder, generation, inside)
                continue
            block = codes.shard(shard).without(here)
            nnz += block.nnz - codes.values_of_shard[shard]
            arrays: dict[str, NDArray[Any]] = {
                "indptr": block.indptr.astype(INDPTR),
                "indices": block.indices,
                "values": block.values,
            }
            for name, values in arrays.items():
                chunk: Chunk = write_array(folder / str(shard) / name, values)
                receipts.append(Receipt.of_chunk(generation, name, shard, span, chunk, run.run))
        _link(run, codes.folder, folder, generation, "zarr.json")
    found = _generation(run, "codes", codes, generation, receipts)
    return replace(found, nnz=nnz if codes.sealed else None)


def swap(transaction: Transaction, one: Generation) -> None:
    """The new generation is what the name means, with the receipts of what was linked."""
    table = {"tensor": "tensors", "codes": "codes", "rowset": "rowsets"}[one.kind]
    statement = f"UPDATE {table} SET id = $new, path = $path WHERE id = $old"  # noqa: S608 ours
    path = f"{one.folder.parent.name}/{one.new_id}"
    transaction.execute(statement, new=one.new_id, path=path, old=one.old_id)
    if one.nnz is not None:
        transaction.execute("UPDATE codes SET nnz = $n WHERE id = $id", n=one.nnz, id=one.new_id)
    statement = """
        DELETE FROM shards
        WHERE owner = $old AND "array" || ' ' || shard IN (SELECT unnest($anew))
    """
    anew = [f"{receipt.array} {receipt.shard}" for receipt in one.receipts]
    transaction.execute(statement, old=one.old_id, anew=anew)
    statement = "UPDATE shards SET owner = $new WHERE owner = $old"
    transaction.execute(statement, new=one.new_id, old=one.old_id)


def _generation(
    run: Run, kind: str, old: Tensor | Codes | Rowset, generation: str, receipts: list[Receipt]
) -> Generation:
    folder = old.folder.parent / generation
    files = {
        one.path.relative_to(run.root).as_posix(): run.store.digest(one.path)
        for one in run.store.files(folder)
        if one.path.name == "zarr.json"
    }
    return Generation(
        kind, old.name, old.fingerprint, old.id, generation, folder, tuple(receipts), files
    )


def _link(run: Run, old: Path, staged: Path, generation: str, inside: str) -> None:
    """A file of ``old`` is one of the generation, too, which is filled in ``staged``."""
    run.store.link(old / inside, staged / inside, old.parent / generation / inside)
