"""What an extraction was asked for, resolved: which sites of which model over which rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actlake.flows.default_names import (
    chosen_name,
    documents_name,
    rowset_name,
    tensor_name,
)
from actlake.flows.image_corpora import images_in, refuse_other_kind
from actlake.flows.rowset_checks import (
    refuse_other_tokenizer,
    refuse_windows_of_images,
    rowset_of,
)
from actlake.storage.errors import InputError
from actlake.storage.keys import Json, check_name
from actlake.storage.lake import Lake
from actlake.storage.precision import stored_dtype
from actlake.storage.rowsets import Rowset
from actlake.storage.tensor_writer import TensorPlan

if TYPE_CHECKING:  # torch takes seconds to import, so only a run that computes pays for it
    from actlake.flows.extraction.models import ModelFacts
    from actlake.flows.extraction.sites import Site

__all__ = ["Request", "requests", "sites_asked"]


@dataclass(frozen=True, slots=True)
class Request:
    """What one extraction computes: some sites of one model over one rowset."""

    facts: "ModelFacts"
    rowset: Rowset
    sites: tuple[str, ...]
    plans: tuple[TensorPlan, ...]
    """One for each site."""
    device: str
    compute_dtype: str
    attention: str
    window: int
    """Tokens of a window, for pooled sites, which cut the documents themselves."""
    last_layer: int | None
    """The last block that has to run; None for the whole model."""
    images: str | None
    """Folder of the images, where it is not that of ``ingest``."""
    compiled: bool = False
    """Whether torch compiles the model around the sites."""

    @property
    def longest(self) -> int:
        """Tokens of the longest window."""
        return self.rowset.window or self.window


def requests(
    lake: Lake,
    *,
    source: str,
    sites: Sequence[str],
    corpus: str,
    model: str | None,
    revision: str | None,
    window: int | None,
    rowset: str | None,
    rows: str | None,
    dtype: str,
    compute_dtype: str,
    attention: str,
    device: str,
    random_weights: int | None,
    trust_remote_code: bool,
    images: str | None = None,
    compiled: bool = False,
) -> list[Request]:
    """One request for all token sites, and one for all pooled ones; parameters as of ``extract``.

    Reads the model's config and hashes its weights without loading them. Raises InputError for
    whatever can be told so to be wrong.
    """
    from actlake.flows.extraction import sites as site_table

    facts, resolved, attention = sites_asked(
        source,
        sites,
        model=model,
        revision=revision,
        attention=attention,
        random_weights=random_weights,
        trust_remote_code=trust_remote_code,
    )
    stored_dtype(dtype)
    held = images_in(lake, corpus) is not None
    refuse_other_kind(corpus, facts, images=held)
    if images is not None and not held:
        raise InputError(f"corpus {corpus} holds text and no images; leave out images")
    refuse_windows_of_images(facts, window, 0, "document")
    cut = facts.default_window if window is None else window
    shown_window = None if cut == facts.default_window else cut
    default_rowset = rowset_name(corpus, facts.tokenizer, shown_window)
    tokens_rowset = default_rowset if rowset is None else rowset
    if rows is not None:
        tokens_rowset = chosen_name(tokens_rowset, check_name("mask", rows))
    found = []
    # Pooled and token sites have different row axes, so they are different runs.
    for pooled in (False, True):
        group = [site for site in resolved if site_table.is_pooled(site.alias) == pooled]
        if not group:
            continue
        if pooled:
            axis = rowset_of(lake, documents_name(corpus), corpus, source)
        else:
            axis = rowset_of(lake, tokens_rowset, corpus, source, rows)
            refuse_other_tokenizer(lake, axis, facts)
        provenance: tuple[tuple[str, Json], ...] = (("attention", attention),)
        around: tuple[tuple[str, str], ...] = ()
        if compiled:
            provenance += (("compiled", True),)
            around = (("compiled_around", " ".join(site.module for site in group)),)
        if pooled:
            provenance += (("window", cut), ("tokenizer_fingerprint", facts.tokenizer_fingerprint))
        plans = tuple(
            TensorPlan(
                name=check_name(
                    "tensor",
                    tensor_name(facts.name, site.alias, corpus, shown_window, axis.mask),
                ),
                model=facts.name,
                model_fingerprint=facts.fingerprint,
                site=site.alias,
                module=site.module,
                side="pooled" if pooled else site.side,
                rowset=axis,
                dtype=dtype,
                compute_dtype=compute_dtype,
                width=site.width,
                provenance=provenance + _columns(site),
                batch_plan=around,
            )
            for site in group
        )
        found.append(
            Request(
                facts=facts,
                rowset=axis,
                sites=tuple(site.alias for site in group),
                plans=plans,
                device=device,
                compute_dtype=compute_dtype,
                attention=attention,
                window=cut,
                last_layer=site_table.last_layer(group),
                images=images,
                compiled=compiled,
            )
        )
    return found


def sites_asked(
    source: str,
    sites: Sequence[str],
    *,
    model: str | None,
    revision: str | None,
    attention: str,
    random_weights: int | None,
    trust_remote_code: bool,
) -> tuple["ModelFacts", list["Site"], str]:
    """The model, its sites, and the implementation of attention; asks no lake."""
    from actlake.flows.extraction import models, skeletons

    facts = models.inspect_model(
        source,
        name=model,
        revision=revision,
        trust_remote_code=trust_remote_code,
        random_weights=random_weights,
    )
    # What the model would choose is part of what it computes.
    resolved, attention = skeletons.sites_of(facts, list(dict.fromkeys(sites)), attention)
    if not resolved:
        raise InputError(f"no site of {facts.name} was named; try --site resid_post.0")
    return facts, resolved, attention


def _columns(site: "Site") -> tuple[tuple[str, Json], ...]:
    """What is written beside the tensor, and makes it another one, where columns were chosen."""
    return () if site.columns is None else (("columns", list(site.columns)),)
