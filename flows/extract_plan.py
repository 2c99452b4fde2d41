"""What an extraction would write, and what that costs, before anything runs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actlake.flows.batch_plan import choose_budget
from actlake.flows.extract_request import Request, requests
from actlake.storage.errors import InputError, NotFoundError
from actlake.storage.lake import Lake
from actlake.storage.names import means_the_same
from actlake.storage.tensor_arrays import row_bytes, shard_bytes
from actlake.storage.tensor_writer import TensorPlan, tensor_fingerprint

__all__ = ["Forecast", "Passes", "forecast"]

SAMPLED_SHARDS = 8
SAMPLED_DOCUMENTS = 64
KEPT_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "int8": 5}
"""A value of a shard in memory; in int8 it is float32 until its row is whole."""
POOLED_BYTES = 24
"""A value of the last hidden state of a document: a sum in float64, and four in float32."""


@dataclass(frozen=True, slots=True)
class Passes:
    """Forward passes that are to be made over one rowset."""

    rowset: str
    passes: int
    token_budget: int
    """Padded tokens a pass at most."""
    padding: float | None
    """Share of the computed tokens that is padding; None where it was not looked at."""
    sampled: bool
    """Whether this is counted over some shards or documents and scaled up."""
    held_bytes: int
    """Of activations in memory at once, at most: those of a shard that is computed and of one that
    is written. The model, and what a pass makes, come on top."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is not committed yet, of every tensor that was asked for."""

    tensors: pa.Table
    """A row a tensor: name, width, dtype, rows, shards, bytes a row, bytes of its files."""
    passes: tuple[Passes, ...]
    bytes: int
    price: float
    """Euros a gigabyte (10⁹ bytes) and month."""

    @property
    def euros_a_month(self) -> float:
        return self.bytes / 1e9 * self.price


def forecast(
    lake: Lake, *, price: float, token_budget: int | None = None, **asked: Any
) -> Forecast:
    """The forecast of ``extract(lake, **asked)``; writes nothing and loads no weights.

    Bytes are exact, with the padding of last shards. Where more than eight shards are missing,
    passes are counted over eight of them, and of pooled sites over 64 documents, and scaled up.
    On CUDA the token budget is the constant: a probe chooses it as the run begins.
    """
    if not 0 <= price < float("inf"):
        raise InputError(f"a price of {price} euros a gigabyte and month is none; give 0 or more")
    rows: list[dict[str, Any]] = []
    passes: list[Passes] = []
    for request in requests(lake, **asked):
        missing = {plan.name: _missing(lake, plan) for plan in request.plans}
        rows += [_tensor(plan, missing[plan.name]) for plan in request.plans]
        todo = sorted(set().union(*missing.values()))
        if todo:
            budget = choose_budget(lake, request.plans, token_budget, request.device, None)
            passes.append(_passes(lake, request, todo, budget))
    total = sum(int(row["bytes"]) for row in rows)
    return Forecast(pa.Table.from_pylist(rows), tuple(passes), total, price)


def _missing(lake: Lake, plan: TensorPlan) -> list[int]:
    """Shards that are not committed; NameTakenError where the name means other rows."""
    try:
        tensor = lake.tensor(plan.name)
    except NotFoundError:
        return [*range(len(plan.rowset.grid))]
    means_the_same("tensor", plan.name, tensor_fingerprint(plan), [(tensor.fingerprint,)])
    return tensor.missing()


def _tensor(plan: TensorPlan, missing: list[int]) -> dict[str, Any]:
    grid = plan.rowset.grid
    spans = [grid.span(shard) for shard in missing]
    return {
        "tensor": plan.name,
        "width": plan.width,
        "dtype": plan.dtype,
        "rows": sum(stop - start for start, stop in spans),
        "shards": len(missing),
        "bytes_per_row": row_bytes(plan.dtype, plan.width),
        # A chunk is always full.
        "bytes": len(missing) * shard_bytes(plan.dtype, plan.width, grid.shard_rows),
    }


def _passes(lake: Lake, request: Request, todo: list[int], budget: int) -> Passes:
    from actlake.flows.extraction.batches import padding_share, plan_batches

    name = request.rowset.name
    if request.rowset.kind == "document":
        tokens = _tokens_of_documents(lake, request, todo)
        count = max(1, -(-tokens // budget))
        return Passes(name, count, budget, None, sampled=True, held_bytes=_held(request))
    picked = np.unique(np.linspace(0, len(todo) - 1, SAMPLED_SHARDS).astype(int))
    count, computed, held = 0, 0.0, 0
    for shard in (todo[index] for index in picked):
        lengths = _lengths(request, shard)
        batches = plan_batches(lengths, budget)
        count += len(batches)
        held += int(lengths.sum())
        computed += int(lengths.sum()) / (1 - padding_share(lengths, batches))
    scaled = round(count * len(todo) / len(picked))
    padding, sampled = 1 - held / computed, len(picked) < len(todo)
    return Passes(name, scaled, budget, padding, sampled=sampled, held_bytes=_held(request))


def _held(request: Request) -> int:
    """As ``Passes`` has it, where two shards are under way."""
    if request.rowset.kind == "document":  # all four are made, whichever are asked for
        a_row = POOLED_BYTES * max(plan.width for plan in request.plans)
    else:
        a_row = sum(KEPT_BYTES[plan.dtype] * plan.width for plan in request.plans)
    return 2 * request.rowset.shard_rows * a_row


def _lengths(request: Request, shard: int) -> NDArray[np.int64]:
    """Tokens of each window that holds rows of ``shard``."""
    from actlake.flows.shard_capture import windows_of_shard

    found = windows_of_shard(request.rowset, shard)
    return np.array([len(window.token_ids) for window in found], np.int64)


def _tokens_of_documents(lake: Lake, request: Request, todo: list[int]) -> int:
    """Of the documents in the shards ``todo``, by the mean of a sample spread over the corpus."""
    spans = [request.rowset.grid.span(shard) for shard in todo]
    count = sum(stop - start for start, stop in spans)
    if request.facts.patches is not None:
        return count * request.facts.patches.tokens
    from actlake.flows.extraction.models import load_tokenizer
    from actlake.flows.extraction.tokens import tokenize_documents

    rowset = request.rowset
    query = """
        SELECT text FROM documents
        WHERE corpus = $corpus AND document % $step = 0 AND text IS NOT NULL
    """
    step = max(1, rowset.rows // SAMPLED_DOCUMENTS)
    texts = lake.sql(query, corpus=rowset.corpus, step=step).arrow()["text"].to_pylist()
    tokenizer = load_tokenizer(request.facts)
    cut = list(tokenize_documents(tokenizer, texts, window=request.window))
    mean = sum(document.rows for document in cut) / max(1, len(cut))
    return round(mean * count)
