"""The lake: what people open, read, query, verify and write."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any, Self, Unpack

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from actlake import sql
from actlake.storage import creation
from actlake.storage.catalog import Catalog
from actlake.storage.claims import Claims
from actlake.storage.codes import Codes, codes_named
from actlake.storage.contexts import Context, Shown, contexts_of
from actlake.storage.corpora import Document, corpus_facts
from actlake.storage.database import Database
from actlake.storage.databases import database_at
from actlake.storage.dictionary_files import DictionaryFile, dictionary_named
from actlake.storage.durable import Digest
from actlake.storage.elsewhere import opened
from actlake.storage.errors import InputError
from actlake.storage.guard import QUERY_SECONDS, run_select
from actlake.storage.handle import Handle
from actlake.storage.keys import Json
from actlake.storage.lazy_tables import lazy_table
from actlake.storage.masks import Mask, mask_named, mask_rows
from actlake.storage.migrations import applied, migrate
from actlake.storage.named_queries import query_text
from actlake.storage.partials import stored_partials
from actlake.storage.reader import Reader
from actlake.storage.reading import Mode, Reading
from actlake.storage.results import Result
from actlake.storage.rowsets import Rowset, rowset_named
from actlake.storage.run import Run, started_run
from actlake.storage.settings import Settings, new_settings, read_settings
from actlake.storage.shards import WIDTH_HINT, committed_shards
from actlake.storage.snapshots import current_snapshot, refuse_withdrawn, snapshots
from actlake.storage.stores import store_at
from actlake.storage.tensors import Tensor, tensor_named
from actlake.storage.verify import WHOLE, Fault, Part, committed_bytes, verify
from actlake.storage.writers import TensorWriter, given

__all__ = ["Lake"]


class Lake:
    """A lake at its newest snapshot, or as of one that ``at`` names.

    What a reader such as ``tensor`` returns stays as it was when it was opened; queries of a
    lake without a snapshot always see the newest.
    """

    def __init__(
        self,
        root: Path,
        settings: Settings,
        snapshot: int | None = None,
        mode: Mode = "first-read",
    ) -> None:
        self.root = root
        self.settings = settings
        self.store = store_at(root, settings.store)
        """Where the lake's files are."""
        self.reading = Reading(self.store, mode, self._connection, lambda: self._claims.files())
        self.snapshot = snapshot
        self.prefect_run: str | None = None
        """Id of the Prefect flow run on whose behalf this lake is written, for ``runs``."""

    @classmethod
    def open(cls, path: str | Path, *, verify: Mode = "first-read") -> Self:
        """The lake at ``path``; FormatError if it is none, or of a newer format.

        ``verify``: when files are held against what was committed; ``storage.reading`` says costs.
        """
        root = Path(path).expanduser().resolve()
        lake = cls(root, read_settings(root), mode=verify)
        lake.store.check(lake.settings.lake)
        handle = lake._catalog.attached()  # without views, which need the newest tables
        if handle.told(lambda: applied(handle.raw)) < len(sql.names("schema")):
            migrate(lake._catalog)
        lake.__dict__["_reader"] = lake._reader_of(handle)
        return lake

    @classmethod
    def create(cls, path: str | Path, *, catalog: str = "sqlite", store: str = "folder") -> Self:
        """A new, empty lake in a folder that does not exist or is empty; else InputError.

        For several machines, ``catalog`` is ``postgres:dbname=… host=…`` and ``store``, unless they
        share the folder, ``s3://bucket/prefix``.
        """
        root = Path(path).expanduser().resolve()
        lake = cls(root, new_settings(catalog, store))
        creation.make_lake(root, lake.settings, lake._catalog, lake._claims)
        return lake

    def at(self, snapshot: int) -> Self:
        """The same lake as of ``snapshot``, read-only; NotFoundError if there is no such one."""
        newest = self if self.snapshot is None else type(self)(self.root, self.settings)
        newest.reading.table("withdrawals")
        refuse_withdrawn(newest._connection(), snapshot)
        lake = type(self)(self.root, self.settings, snapshot, self.reading.mode)
        lake._connection()
        return lake

    def close(self) -> None:
        """Close the lake's connections; a later call opens them again."""
        self._catalog.close()
        self.database.engine.dispose()
        self.reading.forget()
        if (reader := self.__dict__.pop("_reader", None)) is not None:
            reader.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return opened, (self.root, self.settings.lake, self.snapshot, self.reading.mode)

    @cached_property
    def database(self) -> Database:
        """The database that holds the catalog."""
        return database_at(self.root, self.settings.catalog)

    @cached_property
    def _claims(self) -> Claims:
        return Claims(self.database)

    @cached_property
    def _catalog(self) -> Catalog:
        return Catalog(self.store, self._claims)

    @cached_property
    def _reader(self) -> Reader:
        return self._reader_of(self._catalog.attached(self.snapshot))

    def _reader_of(self, handle: Handle) -> Reader:
        return Reader(handle, self.store.uri(self.root / "tables"), self.reading)

    def _connection(self) -> Handle:
        return self._reader.handle()

    # Reading

    def tensor(self, name: str) -> Tensor:
        """A reader of the tensor of that name; NotFoundError if there is none."""
        return tensor_named(self.reading, name)

    def codes(self, name: str) -> Codes:
        """A reader of the codes of that name; NotFoundError if there are none."""
        return codes_named(self.reading, name)

    def rowset(self, name: str) -> Rowset:
        """A reader of the rowset of that name; NotFoundError if there is none."""
        return rowset_named(self.reading, name)

    def dictionary(self, name: str) -> DictionaryFile:
        """The weights and configuration of a dictionary; NotFoundError if there is none."""
        return dictionary_named(self.reading, name)

    def mask(self, name: str) -> Mask:
        """The mask of that name; NotFoundError if there is none."""
        return mask_named(self.reading, name)

    def mask_rows(self, mask: Mask, rowset: Rowset, start: int, stop: int) -> NDArray[np.bool_]:
        """Whether each of rows [start, stop) is under the mask, shape (stop - start,)."""
        return mask_rows(self.reading, mask, rowset, start, stop)

    def partials(
        self, codes: str, mask: str, code_version: str | Sequence[str]
    ) -> dict[tuple[str, int], tuple[str, Digest]]:
        """Path and digest of each stored state of a statistic, by (statistic, shard)."""
        return stored_partials(self.reading, codes, mask, code_version)

    def contexts(self, codes: str, feature: int, **shown: Unpack[Shown]) -> list[Context]:
        """The strongest firings of a feature with their text, or other examples: see ``Shown``."""
        return self.contexts_of(codes, [feature], **shown)[int(feature)]

    def contexts_of(
        self, codes: str, features: Iterable[int], **shown: Unpack[Shown]
    ) -> dict[int, list[Context]]:
        """``contexts`` of many features, read together; of codes, or of a set of them."""
        with self.reading.standing():
            return contexts_of(self.reading, codes, [*map(int, features)], **shown)

    def sql(self, select: str, *, seconds: float = QUERY_SECONDS, **parameters: Any) -> Result:
        """The result of one SELECT over the lake's tables and views.

        ``$name`` in it stands for the parameter of that name. QueryError if it is anything but
        one SELECT, calls a function that reaches outside the lake, or takes longer than
        ``seconds``.
        """
        self.reading.statement(select)
        lent, back = self._reader.lend(), self._reader.take_back
        return run_select(lent, select, parameters, seconds=seconds, fetched=back)

    def query(self, name: str, *, seconds: float = QUERY_SECONDS, **parameters: Any) -> Result:
        """The result of a query from ``sql/queries``; NotFoundError if there is none."""
        return self.sql(query_text(name), seconds=seconds, **parameters)

    def table(self, name: str) -> pl.LazyFrame:
        """A table or view as a lazy frame; columns, conditions and limits go into DuckDB."""
        return lazy_table(self.reading, self._reader.fresh_handle, name)

    def snapshots(self, limit: int) -> pa.Table:
        """The newest commits: snapshot, time (UTC), author, message."""
        return snapshots(self._connection(), limit)

    def newest_snapshot(self) -> int:
        """The snapshot that a query would see now."""
        return current_snapshot(self._connection())

    def pin(self, why: str) -> int:
        """Keep the snapshot that a query would see now, for the reason ``why``; its number."""
        self._claims.pin(snapshot := self.newest_snapshot(), why)
        return snapshot

    def bytes(self, part: Part = WHOLE) -> int:
        """Size of everything that ``verify`` reads."""
        return committed_bytes(self.store, self._connection(), self._claims, part)

    def verify(
        self,
        progress: Callable[[int], object] = int,
        part: Part = WHOLE,
        tell: Callable[[str], object] = str,
    ) -> Iterator[Fault]:
        """Every fault of the lake, or of a part of its files; see ``storage.verify``."""
        return verify(self.store, self._reader.fresh_handle(), self._claims, progress, part, tell)

    # Writing

    def run(
        self,
        flow: str,
        parameters: Mapping[str, Json],
        inputs: Mapping[str, str],
        prepare: Callable[[], object] | None = None,
    ) -> AbstractContextManager[Run]:
        """A run of ``flow``, through which everything is written; see ``storage.run``."""
        if self.snapshot is not None:
            raise InputError(f"{self.root} at snapshot {self.snapshot} is old; write to the newest")
        return started_run(
            flow,
            parameters,
            inputs,
            root=self.root,
            catalog=self._catalog,
            claims=self._claims,
            reader=self._connection,
            prefect_run=self.prefect_run,
            prepare=prepare,
        )

    def create_mask(self, name: str, predicate: str) -> Mask:
        """Commit a mask: a condition over the columns of ``tokens``, such as ``position > 4``."""
        return creation.create_mask(self.run, self._connection(), name, predicate)

    def create_corpus(
        self, name: str, documents: Iterable[Document], *, source: str = "python"
    ) -> None:
        """Commit a corpus; the documents are held in memory. See ``storage.corpora``."""
        creation.create_corpus(self.run, self._connection(), name, documents, source)

    def create_rowset(
        self,
        name: str,
        *,
        corpus: str,
        columns: Mapping[str, NDArray[Any]],
        kind: str = "token",
        tokenizer: str | None = None,
        width_hint: int = WIDTH_HINT,
    ) -> Rowset:
        """Commit a rowset whose rows somebody else cut; the columns are ``fields.ROW_COLUMNS``.

        Only ``document`` is required, in ascending order. See ``rowset_writer.complete_columns``.
        """
        creation.create_rowset(
            self.run, self._connection(), name, corpus, columns, kind, tokenizer, width_hint
        )
        return self.rowset(name)

    def create_tensor(
        self,
        name: str,
        *,
        rowset: str,
        width: int,
        model: str = "unknown",
        site: str = "unknown",
        dtype: str = "float16",
        provenance: Mapping[str, Json] | None = None,
    ) -> TensorWriter:
        """A writer of activations that were made elsewhere; ``append`` rows, then ``close``.

        ``provenance``, any JSON that tells where they came from, is part of what identifies it.
        """
        plan = given(name, self.rowset(rowset), width, model, site, dtype, provenance or {})
        return creation.create_tensor(self.run, self._connection(), plan, self.committed_shards)

    def committed_shards(self, owner: str) -> set[int]:
        """Shards of the tensor or codes with the id ``owner`` that are committed now."""
        self.reading.table("shards", owner=(owner, owner))
        return committed_shards(self._connection(), owner)

    def corpus_fingerprint(self, corpus: str) -> str:
        """The fingerprint of a corpus; NotFoundError if there is none of that name."""
        self.reading.table("corpora")
        return corpus_facts(self._connection(), corpus).fingerprint
