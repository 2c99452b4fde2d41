"""The activations of one shard: a model run over the windows that hold its rows."""

from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.flows.extract_request import Request
from actlake.flows.extraction import capture, tokens, windows
from actlake.flows.extraction.models import LoadedModel
from actlake.flows.image_corpora import capture_images
from actlake.flows.loaded_model import load_model_of
from actlake.flows.runners import TURN, Later
from actlake.storage.lake import Lake
from actlake.storage.rowsets import Rowset
from actlake.storage.run import Run
from actlake.storage.shards import Receipt
from actlake.storage.tensor_writer import TensorPlan, publish_shard

__all__ = ["capture_shard", "extract_shard", "windows_of_shard"]


def extract_shard(
    shard: int,
    *,
    lake: Lake,
    run: Run,
    request: Request,
    plans: Sequence[TensorPlan],
    ids: Mapping[str, str],
    committed: Mapping[str, Set[int]],
    threads: int,
    token_budget: int,
) -> Later[list[Receipt]]:
    """Publish the rows of ``shard`` of each tensor of which they are not committed; receipts.

    ``ids`` and ``committed``, the shards that are, by the tensor's name.
    """
    with TURN:
        captured = capture_shard(
            lake,
            load_model_of(request, threads, check=True),
            request.rowset,
            request.sites,
            shard,
            window=request.window,
            token_budget=token_budget,
            images=request.images,
            dtype=plans[0].dtype,
        )

    def publish() -> list[Receipt]:
        receipts = (
            publish_shard(
                run,
                plan,
                ids[plan.name],
                shard,
                captured[plan.site],
                token_budget=token_budget,
                torch_threads=threads,
            )
            for plan in plans
            if shard not in committed[plan.name]
        )
        return [*chain.from_iterable(receipts)]

    return Later(publish)


def capture_shard(
    lake: Lake,
    loaded: LoadedModel,
    rowset: Rowset,
    sites: Sequence[str],
    shard: int,
    *,
    window: int,
    token_budget: int,
    images: str | None = None,
    dtype: str = "float32",
) -> dict[str, NDArray[Any]]:
    """Each site's rows of one shard, shape (rows, width), computed from its row range alone.

    A document that was taken back is run as if it were other text, for the sake of its row numbers.
    ``window`` is for rows that are documents, which are cut here, ``images`` as of ``extract``,
    ``dtype`` that in which they will be stored: what fits it comes in it, all else in float32.
    """
    if loaded.facts.patches is not None:
        return capture_images(
            lake,
            loaded,
            rowset,
            sites,
            shard,
            token_budget=token_budget,
            images=images,
            dtype=dtype,
        )
    start, stop = rowset.grid.span(shard)
    if rowset.kind == "document":
        texts = _texts(lake, rowset.corpus, start, stop)
        documents = tokens.tokenize_documents(loaded.tokenizer, texts, window=window)
        cut = [windows.windows_of_document(document) for document in documents]
        return capture.pool(loaded, cut, sites, token_budget=token_budget)
    found = windows_of_shard(rowset, shard)
    return capture.capture(
        loaded,
        sites,
        found,
        row_start=start,
        row_stop=stop,
        token_budget=token_budget,
        dtype=dtype,
    )


def windows_of_shard(rowset: Rowset, shard: int) -> list[windows.Window]:
    """The windows of tokens that hold rows of ``shard``, which alone are wanted from them.

    Rows that were chosen from those of another rowset are computed in its windows.
    """
    start, stop = rowset.grid.span(shard)
    whole = rowset.parent or rowset
    index = rowset.of_parent(start, stop)

    def column(name: str, first: int = 0, after: int | None = None) -> NDArray[Any]:
        values = whole.column(name, first, after)
        return np.maximum(values, 0) if name == "token_id" and whole.withdrawn else values

    found = windows.windows_of_rows(
        column,
        whole.rows,
        int(index[0]),
        int(index[-1]) + 1,
        windowing=whole.windowing or "document",
    )
    return found if rowset.parent is None else windows.chosen_rows(found, index, start)


def _texts(lake: Lake, corpus: str, start: int, stop: int) -> Iterator[str]:
    query = """
        SELECT text FROM documents
        WHERE corpus = $corpus AND document >= $start AND document < $stop ORDER BY document
    """
    rows = lake.sql(query, corpus=corpus, start=start, stop=stop)
    return (text or "." for text in rows.arrow()["text"].to_pylist())
