"""Writing tensors: plan, publish shards, commit their receipts, seal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actlake.storage.arrays import Chunk, publish_chunk
from actlake.storage.durable import Digest, digest
from actlake.storage.errors import InputError
from actlake.storage.fields import arrow_schema
from actlake.storage.keys import Json, check_name, fingerprint, new_id
from actlake.storage.names import means_the_same
from actlake.storage.precision import RowNorms, mean_of, stored_dtype
from actlake.storage.rowsets import Rowset
from actlake.storage.run import Run
from actlake.storage.shards import Receipt, receipts_table, refuse_committed
from actlake.storage.tensor_arrays import (
    array_folder,
    create_arrays,
    metadata_files,
    stored_rows,
    tensor_chunk,
    values_of,
)
from actlake.storage.transaction import Transaction

__all__ = [
    "TensorPlan",
    "abandon_tensors",
    "check_tensor",
    "commit_shards",
    "create_tensor",
    "plan_tensors",
    "publish_shard",
    "seal",
    "tensor_fingerprint",
]


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """What a tensor will be. All but its name and batch plan goes into the fingerprint."""

    name: str
    model: str
    model_fingerprint: str
    site: str
    module: str
    side: str
    """input or output of the module, pooled, or given where rows come from elsewhere."""
    rowset: Rowset
    dtype: str
    compute_dtype: str
    width: int
    provenance: tuple[tuple[str, Json], ...] = ()
    """More facts for the array's attributes, such as the attention implementation."""
    batch_plan: tuple[tuple[str, int | str], ...] = ()
    """How the rows are computed, such as token_budget and torch_threads: kept with the array, so
    that a run that is taken up again computes the same bits, but no part of the fingerprint."""


def tensor_fingerprint(plan: TensorPlan) -> str:
    """What two plans share if and only if they mean the same rows."""
    return fingerprint(
        "tensor",
        plan.model_fingerprint,
        plan.module,
        plan.side,
        plan.rowset.fingerprint,
        plan.dtype,
        plan.compute_dtype,
        plan.width,
        plan.provenance,
    )


def plan_tensors(run: Run, plans: Sequence[TensorPlan]) -> dict[str, str]:
    """Make the tensors known, all in one commit; the id of each, by name.

    One that is planned already, by this run's predecessor, keeps its id and its shards. Until
    the run ends, no other one writes a tensor of these names. NameTakenError if one of them
    means other rows.
    """
    for plan in plans:
        check_tensor(plan)
    run.hold(*(f"tensor:{plan.name}" for plan in plans))
    query = "SELECT tensor, fingerprint, id FROM tensors"
    known = run.examine(lambda now: now.rows(query))
    ids: dict[str, str] = {}
    fresh: list[TensorPlan] = []
    for plan in plans:
        found = [facts[1:] for facts in known if facts[0] == plan.name]
        if means_the_same(
            "tensor", plan.name, tensor_fingerprint(plan), [one[:1] for one in found]
        ):
            ids[plan.name] = str(found[0][1])
        else:
            ids[plan.name] = new_id()
            fresh.append(plan)
    if not fresh:
        return ids
    files: dict[str, Digest] = {}
    for plan in fresh:
        with run.store.new_folder(run.root / "tensors" / ids[plan.name]) as staged:
            create_tensor(staged, plan)
            for file in metadata_files(plan.dtype):
                files[f"tensors/{ids[plan.name]}/{file}"] = digest(staged / file)
    table = pa.Table.from_pylist(
        [_row(run, plan, ids[plan.name]) for plan in fresh], arrow_schema("tensors")
    )
    run.append(
        {"tensors": table},
        f"planned {', '.join(plan.name for plan in fresh)}",
        folders=[run.root / "tensors" / ids[plan.name] for plan in fresh],
        files=files,
    )
    return ids


def check_tensor(plan: TensorPlan) -> None:
    """InputError if the plan's name, dtype or width cannot be."""
    check_name("tensor", plan.name)
    stored_dtype(plan.dtype)
    if plan.width < 1:
        raise InputError(f"tensor {plan.name} cannot have a width of {plan.width}; it is 1 or more")


def _row(run: Run, plan: TensorPlan, tensor_id: str) -> dict[str, object]:
    return {
        "tensor": plan.name,
        "model": plan.model,
        "site": plan.site,
        "module": plan.module,
        "side": plan.side,
        "rowset": plan.rowset.name,
        "dtype": plan.dtype,
        "compute_dtype": plan.compute_dtype,
        "width": plan.width,
        "rows": plan.rowset.rows,
        "fingerprint": tensor_fingerprint(plan),
        "id": tensor_id,
        "path": f"tensors/{tensor_id}",
        "state": "planned",
        "run": run.run,
    }


def create_tensor(folder: Path, plan: TensorPlan) -> None:
    """Write a tensor without shards into ``folder``."""
    attributes: dict[str, Json] = {
        "tensor": plan.name,
        "model": plan.model,
        "model_fingerprint": plan.model_fingerprint,
        "site": plan.site,
        "module": plan.module,
        "side": plan.side,
        "rowset": plan.rowset.name,
        "rowset_fingerprint": plan.rowset.fingerprint,
        "dtype": plan.dtype,
        "compute_dtype": plan.compute_dtype,
        **dict(plan.provenance),
        **dict(plan.batch_plan),
    }
    create_arrays(folder, plan.rowset.grid, plan.width, plan.dtype, attributes)


def publish_shard(
    run: Run,
    plan: TensorPlan,
    tensor_id: str,
    shard: int,
    rows: NDArray[np.floating[Any]],
    *,
    checked: bool = False,
    token_budget: int | None = None,
    torch_threads: int | None = None,
) -> list[Receipt]:
    """Write the rows of ``shard``, shape (rows, width), in the stored dtype; the receipts, one for
    each array.

    Those of documents that were taken back become NaN. PrecisionError if others do not fit, unless
    they were ``checked``, which is that they come from ``cast``. The shard exists only once its
    receipts are committed, which is done in one commit.
    """
    grid = plan.rowset.grid
    span = grid.span(shard)
    if rows.shape != (span[1] - span[0], plan.width):
        raise InputError(
            f"shard {shard} of tensor {plan.name} cannot be of shape {rows.shape}; "
            f"give {(span[1] - span[0], plan.width)}"
        )
    present = plan.rowset.present(*span)
    stored = stored_rows(plan.name, plan.rowset, shard, rows, plan.dtype, checked=checked)
    seen = RowNorms(len(rows))
    if apart := len(stored) > 1:  # int8, whose whole numbers mean nothing without their scales
        seen.see(0, values_of(stored))
    receipts = []
    for array, held in stored.items():
        folder = array_folder(run.root / "tensors" / tensor_id, plan.dtype, array)
        path = tensor_chunk(run.root / "tensors" / tensor_id, plan.dtype, array, shard)
        publish = partial(
            publish_chunk,
            folder,
            shard,
            held,
            grid.shard_rows,
            run.store.publish,
            None if apart else seen.see,
        )
        chunk = publish_over_orphan(run, tensor_id, shard, path, publish)
        receipts.append(
            Receipt.of_chunk(
                tensor_id,
                array,
                shard,
                span,
                chunk,
                run.run,
                # Others cast would have refused.
                nonfinite=int((~present).sum()) * held[:1].size,
                norm_mean=mean_of(seen.norms[present]) if array == "rows" else None,
                token_budget=token_budget,
                torch_threads=torch_threads,
            )
        )
    return receipts


def publish_over_orphan(
    run: Run, owner: str, shard: int, path: Path, publish: Callable[[], Chunk]
) -> Chunk:
    """What ``publish`` returns, after removing what a crashed writer left at ``path``.

    InputError if the shard is committed: then what lies there is the truth.
    """
    if not run.store.exists(path):
        try:
            return publish()
        except FileExistsError:
            pass

    def remove(transaction: Transaction) -> None:
        query = "SELECT count(*) FROM shards WHERE owner = $owner AND shard = $shard"
        if transaction.rows(query, owner=owner, shard=shard) != [(0,)]:
            raise InputError(f"shard {shard} of {owner} is already committed; nothing was replaced")
        run.store.remove(path)

    run.examine(remove)
    return publish()


def commit_shards(run: Run, receipts: Sequence[Receipt], message: str) -> None:
    """Make the shards exist, all or none; InputError if one of them does already."""
    run.append(
        {"shards": receipts_table(receipts)},
        message,
        check=lambda transaction: refuse_committed(transaction, receipts),
    )


def seal(run: Run, plans: Sequence[TensorPlan], ids: Mapping[str, str]) -> None:
    """Mark tensors as complete; InputError if a shard of one is not committed."""

    def change(transaction: Transaction) -> None:
        for plan in plans:
            query = "SELECT count(DISTINCT shard) FROM shards WHERE owner = $owner"
            [(committed,)] = transaction.rows(query, owner=ids[plan.name])
            if committed != len(plan.rowset.grid):
                raise InputError(
                    f"tensor {plan.name} has {committed} of {len(plan.rowset.grid)} shards, "
                    "so it is not sealed; write the others first"
                )
            statement = "UPDATE tensors SET state = 'sealed' WHERE id = $id"
            transaction.execute(statement, id=ids[plan.name])

    run.commit(change, f"sealed {', '.join(ids)}")


def abandon_tensors(run: Run, ids: Mapping[str, str]) -> None:
    """Undo the plan of tensors that turned out impossible, so that their names are free again.

    Those of ``ids`` that are sealed stay as they are.
    """

    def change(transaction: Transaction) -> dict[str, tuple[str, str]]:
        query = "SELECT id, dtype FROM tensors WHERE state = 'planned'"
        planned = {str(id_): str(dtype) for id_, dtype in transaction.rows(query)}
        undone = {name: (id_, planned[id_]) for name, id_ in ids.items() if id_ in planned}
        for tensor_id, _ in undone.values():
            transaction.execute("DELETE FROM tensors WHERE id = $id", id=tensor_id)
            transaction.execute("DELETE FROM shards WHERE owner = $id", id=tensor_id)
        return undone

    abandoned = run.commit(change, f"abandoned {', '.join(ids)}")
    for name, (tensor_id, dtype) in abandoned.items():
        run.claims.release_name("tensor", name)
        run.claims.forget_files([f"tensors/{tensor_id}/{file}" for file in metadata_files(dtype)])
        run.store.discard(run.root / "tensors" / tensor_id)
