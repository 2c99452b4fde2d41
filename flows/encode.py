"""encode: a dictionary's codes over a tensor, row-major and as postings."""

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from actlake.analytics.dictionaries.dictionary import Dictionary
from actlake.flows.default_names import codes_name, rowset_name
from actlake.flows.held import held, let_go
from actlake.flows.progress import say
from actlake.flows.runners import TURN, Later, Runner, Threads, carry_out, refuse_device_of_one
from actlake.flows.undo import undo_codes
from actlake.storage.codes_writer import (
    CodesPlan,
    CodesShard,
    commit_codes,
    plan_codes,
    publish_codes,
    seal_codes,
)
from actlake.storage.csr import Csr
from actlake.storage.dictionary_files import DictionaryFile
from actlake.storage.errors import BusyError, IncompleteError, InputError, PrecisionError
from actlake.storage.keys import check_name
from actlake.storage.lake import Lake
from actlake.storage.names import is_made
from actlake.storage.rowsets import Rowset
from actlake.storage.run import Run
from actlake.storage.shards import shards_told
from actlake.storage.tensors import Tensor

if TYPE_CHECKING:  # torch takes seconds to import, so only what encodes pays for it
    from actlake.analytics.dictionaries.torch_encoder import TorchEncoder

    Encoder = Dictionary | TorchEncoder

__all__ = ["encode", "encode_shard", "encoder_of", "encoding_device"]


def encode(
    lake: Lake,
    *,
    dictionary: str,
    tensor: str | None = None,
    codes: str | None = None,
    dtype: str = "float16",
    device: str = "auto",
    runner: Runner | None = None,
) -> str:
    """Name of the codes, complete when this returns; what is committed is not encoded again.

    tensor
        Any complete tensor of the dictionary's width; by default the one it was trained on.
    dtype
        Of the stored values, float16 or float32.
    device
        Of torch; numpy encodes where torch is not installed. Bits differ between them.
    """
    refuse_device_of_one(runner, device)
    file = lake.dictionary(dictionary)
    rows = lake.tensor(file.tensor if tensor is None else tensor)
    if rows.width != file.width:
        raise InputError(
            f"dictionary {dictionary} encodes rows of width {file.width} and tensor {rows.name} "
            f"has {rows.width}; choose a tensor of that width"
        )
    if missing := rows.missing():
        raise IncompleteError(
            f"tensor {rows.name} lacks {len(missing)} of {len(rows.grid)} shards; "
            "finish its extraction first"
        )
    plan = CodesPlan(
        name=check_name(
            "codes",
            codes_name(dictionary, rows.rowset.corpus, _shown_window(rows.rowset), rows.rowset.mask)
            if codes is None
            else codes,
        ),
        dictionary=dictionary,
        dictionary_fingerprint=file.fingerprint,
        n_features=file.n_features,
        tensor=rows.name,
        tensor_fingerprint=rows.fingerprint,
        rowset=rows.rowset,
        dtype=dtype,
    )
    is_made(lake.reading.connection(), "codes", plan.name, plan.fingerprint())
    inputs = {"codes": plan.fingerprint()}
    check = partial(encoding_device, device)  # one that is not here must leave no trace
    with lake.run("encode", {"codes": plan.name}, inputs, prepare=check) as run:
        if run.done:
            say(f"encode: {plan.name} found complete")
            return plan.name
        device = encoding_device(device)
        codes_id = plan_codes(run, plan)
        grid = rows.grid
        key = _key(lake, file.fingerprint, device)
        held(key, lambda: encoder_of(file, device))  # workers read it for themselves
        step = partial(
            _publish_shard,
            lake=lake,
            run=run,
            tensor=rows,
            plan=plan,
            codes_id=codes_id,
            device=device,
        )
        committed = lake.committed_shards(codes_id)
        todo = [shard for shard in range(len(grid)) if shard not in committed]

        def commit(shards: Sequence[int], written: Sequence[CodesShard]) -> None:
            commit_codes(run, written, f"{shards_told(shards)} of {plan.name}")

        try:
            label, chosen = f"encode {plan.name}", runner or Threads()
            carry_out(chosen, "encode shard", step, todo, commit, label=label, rows=grid.rows_of)
        except InputError:
            undo_codes(run, plan.name, codes_id)
            raise
        finally:
            let_go(key)
            if device:
                from actlake.flows.extraction.devices import release

                release()
        seal_codes(run, plan, codes_id)
    return plan.name


def _publish_shard(
    shard: int, *, lake: Lake, run: Run, tensor: Tensor, plan: CodesPlan, codes_id: str, device: str
) -> Later[CodesShard]:
    """Publish the codes of one shard of ``tensor``, which a commit makes known."""
    start, stop = plan.rowset.grid.span(shard)
    try:
        with TURN:
            encoder = _encoder(lake, plan.dictionary, plan.dictionary_fingerprint, device)
            block = encode_shard(encoder, tensor, shard, plan.dtype)
    except PrecisionError as error:
        raise PrecisionError(f"codes {plan.name}, rows {start:,} to {stop:,}: {error}") from error
    return Later(partial(publish_codes, run, plan, codes_id, shard, block))


def _encoder(lake: Lake, dictionary: str, fingerprint: str, device: str) -> "Encoder":
    """Read once a process: the weights of a dictionary are more than a shard of its codes."""

    def read() -> "Encoder":
        file = lake.dictionary(dictionary)
        if file.fingerprint != fingerprint:
            raise BusyError(
                f"dictionary {dictionary} is another one by now; run the encoding again"
            )
        return encoder_of(file, device)

    return held(_key(lake, fingerprint, device), read)


def encoding_device(device: str) -> str:
    """The device of torch that ``device`` is here, or "" where torch is not installed.

    InputError for one that is not here.
    """
    if find_spec("torch") is None:
        if device in ("auto", "cpu"):
            return ""
        raise InputError(
            f"the device {device!r} needs torch; pip install 'actlake[extract]', or choose cpu"
        )
    from actlake.flows.extraction.devices import choose_device

    return choose_device(device)


def encoder_of(file: DictionaryFile, device: str) -> "Encoder":
    """What encodes with a dictionary on a device of torch; numpy where it is ""."""
    dictionary = Dictionary(file.method, file.config, file.arrays)
    if not device:
        return dictionary
    from actlake.analytics.dictionaries.torch_encoder import TorchEncoder

    return TorchEncoder(dictionary, device)


def _key(lake: Lake, fingerprint: str, device: str) -> tuple[str, ...]:
    return "dictionary", str(lake.root), fingerprint, device


def encode_shard(encoder: "Encoder", tensor: Tensor, shard: int, dtype: str) -> Csr:
    """The codes of one shard of ``tensor``; documents that were taken back fire nothing."""
    present = tensor.rowset.present(*tensor.grid.span(shard))
    given = tensor.shard(shard)
    if not present.all():
        given = np.where(present[:, None], given, given.dtype.type(0))
    return encoder.encode(given, dtype).without(~present)


def _shown_window(rowset: Rowset) -> int | None:
    """The window, where the rowset's name shows it: where it is not the model's default."""
    rowset = rowset.parent or rowset
    if rowset.tokenizer is None or rowset.name == rowset_name(rowset.corpus, rowset.tokenizer):
        return None
    return rowset.window
