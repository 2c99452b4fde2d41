"""The TOML file that `actlake pipeline` runs: reading it, and whether it fits together.

A fault is one line that names the file, the table and the key.
"""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from pydantic import ValidationError, model_validator

from actlake.flows.default_names import documents_name, tensor_name
from actlake.flows.packages import PACKAGE
from actlake.flows.pipeline_faults import fault, lower
from actlake.flows.pipeline_tables import (
    Codes,
    CodesSet,
    Comparison,
    Corpus,
    Dictionary,
    Documents,
    Export,
    Hypotheses,
    Mask,
    Model,
    Summary,
    Table,
)
from actlake.flows.source_files import nearest
from actlake.storage.errors import InputError, QueryError
from actlake.storage.guard import check_predicate
from actlake.storage.keys import check_name, repeated
from actlake.storage.masks import BUILT_IN

__all__ = ["Dictionary", "Model", "PipelineFile", "read_pipeline"]


class PipelineFile(Table):
    """What one file asks for, in the order in which it is done."""

    corpus: Corpus
    documents: Documents | None = None
    models: tuple[Model, ...] = ()
    masks: tuple[Mask, ...] = ()
    dictionaries: tuple[Dictionary, ...] = ()
    codes: tuple[Codes, ...] | None = None
    summary: Summary | None = None
    sets: tuple[CodesSet, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    hypotheses: tuple[Hypotheses, ...] = ()
    export: Export | None = None

    def site_of(self, tensor: str) -> tuple[Model, str] | None:
        """The model and site that ``tensor`` refers to; None for the full name of a tensor."""
        pairs = {
            f"{model.name}:{site}": (model, site) for model in self.models for site in model.sites
        }
        return pairs.get(tensor)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        _check_name("corpus.name", "corpus", self.corpus.name)
        if self.documents is not None:
            _check_name("corpus.name", "rowset", documents_name(self.corpus.name))
        self._check_models()
        masks = self._check_masks()
        for model in self.models:
            if model.rows is not None and model.rows not in masks:
                place = f"models.{model.name}.rows"
                raise InputError(f"{place}: no mask {model.rows!r}; {nearest(model.rows, masks)}")
        self._check_dictionaries(masks)
        for codes in self.codes or ():
            self._check_codes(codes)
        _refuse_twice("codes", self._codes_called())
        for mask in self.summary.masks if self.summary else ():
            if mask not in masks:
                raise InputError(f"summary.masks: no mask {mask!r}; {nearest(mask, masks)}")
        called = [one.name for one in self.sets]
        for name in (self.summary.records or ()) if self.summary else ():
            if name not in called:
                self._check_side("summary.records", name, tensors=False)
        self._check_sets()
        self._check_findings(masks)
        return self

    def _check_sets(self) -> None:
        if self.sets and self.summary is None:
            raise InputError("sets: nothing tells of them; add the table [summary]")
        _refuse_twice("sets", [one.name for one in self.sets])
        for one in self.sets:
            _check_name(f"sets.{one.name}.name", "set of codes", one.name)
            _refuse_twice(f"sets.{one.name}.codes", one.codes)
            for name in one.codes:
                self._check_side(f"sets.{one.name}.codes", name, tensors=False)

    def _check_findings(self, masks: list[str]) -> None:
        used: list[tuple[str, Comparison | Hypotheses]] = [
            (f"comparisons.#{i}", one) for i, one in enumerate(self.comparisons, 1)
        ]
        used += [(f"hypotheses.#{i}", one) for i, one in enumerate(self.hypotheses, 1)]
        for place, one in used:
            if one.mask not in masks:
                raise InputError(f"{place}.mask: no mask {one.mask!r}; {nearest(one.mask, masks)}")
            if isinstance(one, Hypotheses):
                self._check_side(f"{place}.codes", one.codes, tensors=False)
                continue
            kinds = {self._check_side(f"{place}.{key}", getattr(one, key)) for key in "ab"}
            if one.a == one.b:
                raise InputError(f"{place}: {one.a!r} is given twice; name two different ones")
            if {"codes", "tensor"} <= kinds:
                raise InputError(
                    f"{place}: {one.a!r} and {one.b!r} are codes and a tensor; compare two codes "
                    "or two tensors"
                )

    def _codes_called(self) -> list[str]:
        """What this file calls its codes: by a name, or by their dictionary."""
        if self.codes is None:
            return [one.name for one in self.dictionaries if one.name is not None]
        return [one.name or one.dictionary for one in self.codes]

    def _check_side(self, place: str, name: str, *, tensors: bool = True) -> str:
        """What ``name`` refers to: codes, a tensor, or something of the lake by its full name."""
        if name in self._codes_called():
            return "codes"
        if tensors and self.site_of(name) is not None:
            return "tensor"
        if "@" in name:
            return "full name"
        raise InputError(
            f"{place}: {name!r} is not in this file; {nearest(name, self._codes_called())}; or "
            "give a full name"
        )

    def _check_models(self) -> None:
        _refuse_twice("models", [model.name for model in self.models])
        for model in self.models:
            place = f"models.{model.name}"
            _check_name(f"{place}.name", "model", model.name)
            _refuse_twice(f"{place}.sites", model.sites)
            if model.rowset is not None:
                _check_name(f"{place}.rowset", "rowset", model.rowset)
            for site in model.sites:
                name = tensor_name(model.name, site, self.corpus.name, mask=model.rows)
                _check_name(f"{place}.sites", "tensor", name)
                if site.startswith("pooled.") and self.documents is None:
                    raise InputError(
                        f"{place}.sites: {site} has a row a document; add the table [documents]"
                    )
            if model.window is not None and model.overlap >= model.window:
                raise InputError(
                    f"{place}.overlap: {model.overlap} tokens leave no room in a window of "
                    f"{model.window}; lower it"
                )

    def _check_masks(self) -> list[str]:
        names = [*BUILT_IN, *(mask.name for mask in self.masks)]
        _refuse_twice("masks", names)
        for mask in self.masks:
            _check_name(f"masks.{mask.name}.name", "mask", mask.name)
            try:
                check_predicate(mask.predicate, "tokens")
            except QueryError as error:
                raise InputError(f"masks.{mask.name}.predicate: {error}") from error
        return names

    def _check_dictionaries(self, masks: list[str]) -> None:
        named = [one.name for one in self.dictionaries if one.name is not None]
        _refuse_twice("dictionaries", named)
        unnamed = [
            f"{one.method} over {one.tensor} with {getattr(one, 'n_features', None) or 'default'} "
            "features"
            for one in self.dictionaries
            if one.name is None
        ]
        _refuse_twice("dictionaries", unnamed)
        for number, one in enumerate(self.dictionaries, 1):
            place = f"dictionaries.{one.name or f'#{number}'}"
            if one.name is not None:
                _check_name(f"{place}.name", "dictionary", one.name)
            self._check_tensor(f"{place}.tensor", one.tensor)
            if one.mask not in masks:
                raise InputError(f"{place}.mask: no mask {one.mask!r}; {nearest(one.mask, masks)}")
            n_features = getattr(one, "n_features", None)
            if n_features is not None and one.k > n_features:
                raise InputError(
                    f"{place}.k: {one.k} of {n_features} features cannot be kept; lower k"
                )

    def _check_codes(self, codes: Codes) -> None:
        place = f"codes.{codes.name or codes.dictionary}"
        if codes.name is not None:
            _check_name(f"{place}.name", "codes", codes.name)
        names = [one.name for one in self.dictionaries if one.name is not None]
        if codes.dictionary not in names and ":" not in codes.dictionary:
            raise InputError(
                f"{place}.dictionary: no dictionary {codes.dictionary!r} in this file; "
                f"{nearest(codes.dictionary, names)}"
            )
        if codes.tensor is not None:
            self._check_tensor(f"{place}.tensor", codes.tensor)

    def _check_tensor(self, place: str, tensor: str) -> None:
        if self.site_of(tensor) is None and "@" not in tensor:
            known = [f"{model.name}:{site}" for model in self.models for site in model.sites]
            raise InputError(
                f"{place}: no model and site {tensor!r} in this file; {nearest(tensor, known)}"
            )


def read_pipeline(file: Path) -> PipelineFile:
    """What ``file`` says, checked; relative paths in it are taken from its folder.

    Raises InputError, with file, table and key, for anything that cannot be carried out as it
    stands. Nothing but the file is read.
    """
    try:
        given = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise InputError(
            f"no pipeline file {file} ({(error.strerror or 'unreadable').lower()}); see "
            "docs/pipeline.md"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8; save it as UTF-8") from error
    except (ValueError, RecursionError) as error:  # also of an integer of thousands of digits
        raise InputError(f"{file} is not TOML: {lower(str(error))}; mend that line") from error
    try:
        # As JSON, because an array may become a tuple there, also where types are strict.
        read = PipelineFile.model_validate_json(json.dumps(given, default=_no_key_takes))
    except ValidationError as error:
        raise InputError(f"{file}: {fault(error, given, PipelineFile)}") from error
    return _from_folder(read, file.parent)


def _no_key_takes(value: object) -> object:
    return {"a date or time": str(value)}


def _from_folder(read: PipelineFile, folder: Path) -> PipelineFile:
    source = replace(
        read.corpus.source,
        path=_placed(read.corpus.source.path, folder),
        metadata=read.corpus.source.metadata and _placed(read.corpus.source.metadata, folder),
    )
    # A hub id looks like a path, so a path says that it is one.
    models = tuple(
        model.model_copy(update={"source": _placed(model.source, folder)})
        if model.source.startswith(("./", "../"))
        else model
        for model in read.models
    )
    export = read.export
    if export is not None and export.folder is not None:
        export = export.model_copy(update={"folder": _placed(export.folder, folder)})
    summary = read.summary
    if summary is not None and summary.token_sets is not None:
        placed = _placed(summary.token_sets, folder)
        summary = summary.model_copy(update={"token_sets": placed})
    given = {"models": models, "summary": summary, "export": export}
    corpus = read.corpus.model_copy(update={"source": source})
    return read.model_copy(update={"corpus": corpus} | given)


def _placed(path: str, folder: Path) -> str:
    return path if path.startswith((PACKAGE, "~")) else str(folder / path)


def _refuse_twice(place: str, names: Sequence[str]) -> None:
    if twice := repeated(names):
        raise InputError(f"{place}: {twice!r} is there twice; give each a name of its own")


def _check_name(place: str, kind: str, name: str) -> None:
    try:
        check_name(kind, name)
    except InputError as error:
        raise InputError(f"{place}: {error}") from error
