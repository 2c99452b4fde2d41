"""Writing rowsets: columns are spooled as they come, then cut on the grid and committed at once."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actlake.storage.arrays import create_array, publish_chunk
from actlake.storage.durable import Digest, digest
from actlake.storage.errors import BusyError, CorpusError, InputError, NameTakenError
from actlake.storage.fields import ROW_COLUMNS, arrow_schema
from actlake.storage.keys import check_name, fingerprint, new_id
from actlake.storage.parquet import ROW_GROUP, encode_groups
from actlake.storage.run import Run
from actlake.storage.settings import actlake_version
from actlake.storage.shards import Grid, Receipt, choose_shard_rows, receipts_table
from actlake.storage.spool import Columns, Spool, SpooledColumn, claim_spool
from actlake.storage.transaction import StagedRows, Transaction

__all__ = ["TABLE_ROWS", "RowsetPlan", "complete_columns", "token_rows", "write_rowset"]

TABLE_ROWS = 1 << 20
"""Rows of ``tokens`` in one Parquet file."""

Blocks = Iterable[Columns] | Callable[[int, int], Iterable[Columns]]
"""Of consecutive rows; or who gives those after the first so many blocks, with so many rows."""


@dataclass(frozen=True, slots=True)
class RowsetPlan:
    """What a rowset will be. All but its name and width hint goes into the fingerprint."""

    name: str
    corpus: str
    corpus_fingerprint: str
    kind: str
    tokenizer: str | None = None
    tokenizer_fingerprint: str | None = None
    windowing: str | None = None
    window: int | None = None
    overlap: int | None = None
    parent: str | None = None
    """Name of the rowset that the rows are chosen from."""
    parent_fingerprint: str | None = None
    mask: str | None = None
    """Name of the mask by which they are."""
    mask_fingerprint: str | None = None
    width_hint: int = 4096
    """Width of the widest tensor that is planned; the grid follows from it."""

    def fingerprint(self) -> str:
        if self.parent is not None:
            return fingerprint("rowset", self.parent_fingerprint, self.mask_fingerprint)
        return fingerprint(
            "rowset",
            self.corpus_fingerprint,
            self.kind,
            self.tokenizer_fingerprint,
            self.windowing,
            self.window,
            self.overlap,
        )


def write_rowset(
    run: Run,
    plan: RowsetPlan,
    blocks: Blocks,
    vocabulary: Sequence[str] | None = None,
    made_with: str = "",
) -> None:
    """Commit the rowset whose columns come in ``blocks``, unless it is there.

    Each block maps every name of ``fields.ROW_COLUMNS`` to an array of one length. Memory holds
    one block; the rest waits in a spool inside the lake, and a run that is killed goes on after
    what waits there, if it is ``made_with`` the same. CorpusError if there is no row.
    """
    check_name("rowset", plan.name)
    run.hold(f"rowset:{plan.name}")
    if run.exists("rowsets", "rowset", plan.name, plan.fingerprint()):
        return
    if vocabulary is not None and _is_known(run, plan.tokenizer, vocabulary):
        vocabulary = None
    spool = _spool(run, plan, made_with)
    try:
        done = spool.blocks, spool.rows
        spool.fill(blocks(*done) if callable(blocks) else islice(blocks, done[0], None))
        if spool.rows == 0:
            why = f"none is under {plan.mask}" if plan.mask else "its corpus is empty"
            raise CorpusError(f"rowset {plan.name} would have no rows; {why}")
        _write(run, plan, spool, vocabulary)
    except BaseException as error:
        if isinstance(error, InputError):  # which comes again
            spool.remove()
        spool.leave()
        raise
    spool.remove()


def _spool(run: Run, plan: RowsetPlan, made_with: str) -> Spool:
    """What waits for a run with this key; nothing if a document was withdrawn since, or what the
    rows are chosen from was made again."""
    # gc takes it for what a killed writer left, a day after it was last written to.
    place = run.root / "rowsets" / f".{run.key}.tmp"

    def look(now: Transaction) -> str:
        claim_spool(place)
        facts: list[object] = [actlake_version(), made_with, dict(ROW_COLUMNS)]
        facts += now.rows(
            "SELECT count(*) FROM withdrawals WHERE corpus = $corpus", corpus=plan.corpus
        )
        facts += now.rows(
            "SELECT id, shard_rows FROM rowsets WHERE rowset = $parent", parent=plan.parent
        )
        return fingerprint("spool", repr(facts))

    return Spool(place, run.examine(look))


def _write(run: Run, plan: RowsetPlan, spool: Spool, vocabulary: Sequence[str] | None) -> None:
    rowset_id, rows, columns = new_id(), spool.rows, spool.columns()
    folder = run.root / "rowsets" / rowset_id
    grid = Grid(rows, choose_shard_rows(rows, plan.width_hint))
    staged: list[StagedRows] = []
    try:
        with run.store.new_folder(folder) as filling:
            receipts = _write_arrays(run, filling, rowset_id, columns, grid)
            for start in range(0, rows, TABLE_ROWS):
                groups = _groups(plan.name, columns, start, min(start + TABLE_ROWS, rows))
                staged.append(run.catalog.stage_parquet("tokens", encode_groups("tokens", groups)))
            files = {
                f"rowsets/{rowset_id}/{path.relative_to(filling)}": digest(path)
                for path in filling.rglob("zarr.json")
            }
    except BaseException:
        for one in staged:
            one.discard()
        raise
    _commit(run, plan, folder, grid, receipts, staged, files, vocabulary)


def complete_columns(columns: Columns) -> dict[str, NDArray[Any]]:
    """Every row column, from those that the caller has; ``document`` is required.

    Positions count within the document; a row without token gets -1 and an empty span.
    InputError for an unknown column, unequal lengths, or documents that do not come in order.
    """
    if unknown := columns.keys() - ROW_COLUMNS.keys():
        raise InputError(f"no row column {sorted(unknown)[0]!r}; they are {', '.join(ROW_COLUMNS)}")
    if "document" not in columns:
        raise InputError("a rowset needs the column document; give the document index of each row")
    if len(shapes := {np.shape(values) for values in columns.values()}) > 1 or len(*shapes) != 1:
        raise InputError("the columns of a rowset are flat and of one length; give such")
    document = np.asarray(columns["document"], np.int64)
    rows = len(document)
    if rows and (document[0] < 0 or (np.diff(document) < 0).any()):
        raise InputError(
            "the rows of a rowset are ordered by document, counted from 0; sort them so"
        )
    first = np.searchsorted(document, document, side="left")
    position = (np.arange(rows) - first).astype(np.int32)
    defaults: dict[str, NDArray[Any]] = {
        "document": document,
        "position": position,
        "window_position": position,
        "token_id": np.full(rows, -1, np.int32),
    }
    return {
        name: np.asarray(columns.get(name, defaults.get(name, np.zeros(rows))), dtype)
        for name, dtype in ROW_COLUMNS.items()
    }


def _write_arrays(
    run: Run, folder: Path, rowset_id: str, columns: Mapping[str, SpooledColumn], grid: Grid
) -> list[Receipt]:
    receipts = []
    for name, values in columns.items():
        create_array(
            folder / name, (grid.rows,), grid.shard_rows, values.dtype, dimension_names=("row",)
        )
        for shard in range(len(grid)):
            start, stop = grid.span(shard)
            chunk = publish_chunk(folder / name, shard, values[start:stop], grid.shard_rows)
            receipts.append(Receipt.of_chunk(rowset_id, name, shard, (start, stop), chunk, run.run))
    return receipts


def token_rows(rowset: str, columns: Columns, start: int) -> pa.Table:
    """The rows of ``tokens`` with these values, of which the first is row ``start``."""
    part = {name: np.asarray(values) for name, values in columns.items()}
    rows = len(part["document"])
    arrays = {name: pa.array(values) for name, values in part.items()}
    arrays["token_id"] = pa.array(part["token_id"], mask=part["token_id"] < 0)
    arrays["rowset"] = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int8), [rowset])
    arrays["row"] = pa.array(np.arange(start, start + rows))
    names = arrow_schema("tokens").names
    return pa.table([arrays[name] for name in names], names)


def _groups(
    rowset: str, columns: Mapping[str, SpooledColumn], start: int, stop: int
) -> Iterator[pa.Table]:
    for first in range(start, stop, ROW_GROUP):
        rows = slice(first, min(first + ROW_GROUP, stop))
        yield token_rows(rowset, {name: of[rows] for name, of in columns.items()}, first)


def _commit(
    run: Run,
    plan: RowsetPlan,
    folder: Path,
    grid: Grid,
    receipts: list[Receipt],
    staged: list[StagedRows],
    files: dict[str, Digest],
    vocabulary: Sequence[str] | None,
) -> None:
    row = {
        "rowset": plan.name,
        "corpus": plan.corpus,
        "kind": plan.kind,
        "tokenizer": plan.tokenizer,
        "windowing": plan.windowing,
        "window": plan.window,
        "overlap": plan.overlap,
        "rows": grid.rows,
        "shard_rows": grid.shard_rows,
        "fingerprint": plan.fingerprint(),
        "id": folder.name,
        "path": f"rowsets/{folder.name}",
        "run": run.run,
        "parent": plan.parent,
        "mask": plan.mask,
    }
    tables = {
        "rowsets": pa.Table.from_pylist([row], arrow_schema("rowsets")),
        "shards": receipts_table(receipts),
    }
    if vocabulary is not None:
        tables["vocabulary"] = pa.table(
            {
                "tokenizer": [plan.tokenizer] * len(vocabulary),
                "token_id": np.arange(len(vocabulary), dtype=np.int32),
                "text": list(vocabulary),
            }
        )

    def check(transaction: Transaction) -> None:
        query = "SELECT count(*) FROM vocabulary WHERE tokenizer = $name"
        if vocabulary is not None and transaction.rows(query, name=plan.tokenizer) != [(0,)]:
            raise BusyError(
                f"another run has just added the vocabulary of {plan.tokenizer}; run this again"
            )

    run.append(
        tables,
        f"rowset {plan.name}, {grid.rows:,} rows",
        check=check,
        staged=staged,
        folders=[folder],
        files=files,
    )


def _is_known(run: Run, tokenizer: str | None, vocabulary: Sequence[str]) -> bool:
    """Whether the lake has the vocabulary; NameTakenError if it has another of that name."""
    query = "SELECT text FROM vocabulary WHERE tokenizer = $tokenizer ORDER BY token_id"
    rows = run.examine(lambda now: now.rows(query, tokenizer=tokenizer))
    if rows and [text for (text,) in rows] != list(vocabulary):
        raise NameTakenError(
            f"the tokenizer name {tokenizer!r} is taken by one with another vocabulary; "
            "choose another name for the model"
        )
    return bool(rows)
