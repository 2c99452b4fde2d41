"""Undoing what was planned and cannot be finished, so that it leaves no trace and no name."""

from collections.abc import Mapping

from actlake.storage.errors import InputError, PrecisionError
from actlake.storage.lake import Lake
from actlake.storage.run import Run
from actlake.storage.tensor_writer import abandon_tensors
from actlake.storage.transaction import Transaction

__all__ = ["undo_codes", "undo_extraction"]


def undo_extraction(
    lake: Lake, run: Run, model: str, ids: Mapping[str, str], error: InputError
) -> None:
    """The tensors of ``ids`` (name to id) that ``error`` makes impossible are gone.

    Those are all that are not sealed where values do not fit the stored dtype, else only those of
    which no shard is committed. The model goes too if this run made it known for nothing.
    """
    unfit = isinstance(error, PrecisionError)
    doomed = {name: id_ for name, id_ in ids.items() if unfit or not lake.tensor(name).committed}
    if not doomed:
        return
    abandon_tensors(run, doomed)

    def forget(transaction: Transaction) -> bool:
        kept = transaction.rows("SELECT model FROM tensors WHERE model = $model", model=model)
        query = "SELECT model FROM models WHERE model = $model AND run = $run"
        if kept or not transaction.rows(query, model=model, run=run.run):
            return False
        transaction.execute("DELETE FROM models WHERE model = $model", model=model)
        return True

    if run.commit(forget, f"no tensor is left of {model}"):
        run.claims.release_name("model", model)


def undo_codes(run: Run, name: str, codes_id: str) -> None:
    """Codes of which a shard could not be made are gone, with the shards that could."""

    def change(transaction: Transaction) -> None:
        transaction.execute("DELETE FROM codes WHERE id = $id", id=codes_id)
        transaction.execute("DELETE FROM shards WHERE owner = $id", id=codes_id)
        transaction.execute("DELETE FROM postings WHERE codes = $name", name=name)

    run.commit(change, f"abandoned codes {name}")
    run.claims.release_name("codes", name)
    folder = f"codes/{codes_id}/"
    run.claims.forget_files([path for path in run.claims.files() if path.startswith(folder)])
    run.store.discard(run.root / folder)
