"""What people make from Python: lakes, masks, corpora, and rowsets and tensors computed elsewhere.

Whatever can be refused is refused before a run begins, so that bad input leaves the lake as it was.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.storage.catalog import Catalog
from actlake.storage.claims import Claims
from actlake.storage.corpora import Document, corpus_facts, examine_documents, write_corpus
from actlake.storage.errors import CorruptError, InputError
from actlake.storage.guard import check_predicate
from actlake.storage.handle import Handle
from actlake.storage.keys import Json, check_name, fingerprint
from actlake.storage.masks import Mask, write_built_in, write_mask
from actlake.storage.migrations import migrate
from actlake.storage.names import is_made
from actlake.storage.rowset_writer import RowsetPlan, complete_columns, write_rowset
from actlake.storage.run import Run
from actlake.storage.settings import Settings, prepare_folder, write_settings
from actlake.storage.shards import choose_shard_rows
from actlake.storage.tensor_writer import (
    TensorPlan,
    check_tensor,
    plan_tensors,
    tensor_fingerprint,
)
from actlake.storage.writers import TensorWriter

__all__ = ["create_corpus", "create_mask", "create_rowset", "create_tensor", "make_lake"]

Start = Callable[[str, Mapping[str, Json], Mapping[str, str]], AbstractContextManager[Run]]
"""``Lake.run``."""


def make_lake(root: Path, settings: Settings, catalog: Catalog, claims: Claims) -> None:
    """See ``Lake.create``; what was left of a lake that was being made is finished."""
    claims.database.reach()  # before there is a folder
    catalog.store.begin("")
    prepare_folder(root, settings.catalog)
    claims.create()
    catalog.store.begin(settings.lake)  # when nothing else can be refused that is easily known
    if "lake.toml" in claims.files():
        raise CorruptError(f"{root}/lake.toml is missing; restore it from a backup of the lake")
    migrate(catalog)
    write_built_in(catalog)
    written = write_settings(root, settings)  # last, so that a crash leaves no half a lake
    claims.record_files({"lake.toml": written})


def create_mask(start: Start, connection: Handle, name: str, predicate: str) -> Mask:
    """See ``Lake.create_mask``."""
    check_name("mask", name)
    check_predicate(predicate, "tokens", con=connection.raw)
    mask = Mask(name, predicate)
    if not is_made(connection, "masks", name, mask.fingerprint):
        with start("create_mask", {"name": name}, {"mask": mask.fingerprint}) as run:
            write_mask(run, name, predicate)
    return mask


def create_corpus(
    start: Start,
    connection: Handle,
    name: str,
    documents: Iterable[Document],
    source: str,
) -> None:
    """See ``Lake.create_corpus``."""
    check_name("corpus", name)
    kept = list(documents)
    facts = examine_documents(kept, source=source)
    if not is_made(connection, "corpora", name, facts.fingerprint):
        with start("create_corpus", {"name": name}, {"corpus": facts.fingerprint}) as run:
            write_corpus(run, name, source, facts, lambda: kept)


def create_rowset(
    start: Start,
    connection: Handle,
    name: str,
    corpus: str,
    columns: Mapping[str, NDArray[Any]],
    kind: str,
    tokenizer: str | None,
    width_hint: int,
) -> None:
    """See ``Lake.create_rowset``."""
    check_name("rowset", name)
    if tokenizer is not None:
        check_name("tokenizer", tokenizer)
    if kind not in ("token", "document"):
        raise InputError(f"no kind {kind!r} of rowsets; choose token or document")
    facts = corpus_facts(connection, corpus)
    complete = complete_columns(columns)
    choose_shard_rows(len(complete["document"]), width_hint)
    if not len(complete["document"]):
        raise InputError(f"rowset {name} would have no rows; give it one row at least")
    if (last := int(complete["document"][-1])) >= facts.documents:
        raise InputError(
            f"rowset {name} has rows of document {last}, which corpus {corpus} has not; "
            f"name some of 0 to {facts.documents - 1}"
        )
    content = {
        column: hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
        for column, values in complete.items()
    }
    plan = RowsetPlan(
        name=name,
        corpus=corpus,
        corpus_fingerprint=facts.fingerprint,
        kind=kind,
        tokenizer=tokenizer,
        tokenizer_fingerprint=fingerprint(content),
        width_hint=width_hint,
    )
    if not is_made(connection, "rowsets", name, plan.fingerprint()):
        with start("create_rowset", {"name": name}, {"rowset": plan.fingerprint()}) as run:
            write_rowset(run, plan, [complete])


def create_tensor(
    start: Start,
    connection: Handle,
    plan: TensorPlan,
    committed: Callable[[str], set[int]],
) -> TensorWriter:
    """See ``Lake.create_tensor``."""
    check_tensor(plan)
    identity = tensor_fingerprint(plan)
    is_made(connection, "tensors", plan.name, identity)
    with ExitStack() as resources:
        opened = start("create_tensor", {"name": plan.name}, {"tensor": identity})
        run = resources.enter_context(opened)
        if run.done:
            raise InputError(
                f"tensor {plan.name} is sealed already; read it with lake.tensor({plan.name!r})"
            )
        ids = plan_tensors(run, [plan])
        done = committed(ids[plan.name])
        if done != set(range(len(done))):
            raise InputError(
                f"tensor {plan.name} was not written in order, so rows cannot be appended; "
                "finish it the way it was begun"
            )
        return TensorWriter(plan, run, ids, done, resources.pop_all())
