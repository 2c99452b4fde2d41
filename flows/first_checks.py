"""What is refused before a corpus, or the lake itself, is made: sources, models and their sites."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actlake.flows.default_names import chosen_name, documents_name
from actlake.flows.extract_request import sites_asked
from actlake.flows.image_corpora import refuse_other_kind
from actlake.flows.ingest import mask_asked, token_plan
from actlake.flows.pipeline import cutting
from actlake.flows.pipeline_file import PipelineFile
from actlake.flows.sources import Source, holds_images, read
from actlake.flows.token_sets import read_token_sets
from actlake.flows.train import dictionary_size
from actlake.storage.corpora import examine_documents
from actlake.storage.errors import NameTakenError
from actlake.storage.guard import check_predicate
from actlake.storage.keys import check_name
from actlake.storage.lake import Lake

__all__ = ["check_corpus", "check_cuts", "check_pipeline"]


def check_corpus(corpus: str, source: Source, *, documents: bool) -> None:
    """Refuse what ``ingest`` would refuse; reads all of the source. Raises InputError.

    documents
        Whether it is to have a rowset of documents, too.
    """
    check_name("corpus", corpus)
    if documents:
        check_name("rowset", documents_name(corpus))
    examine_documents(read(source), source=source.path)


def check_cuts(lake: Lake, cuts: Sequence[Mapping[str, Any]], *, images: bool) -> None:
    """Refuse what ``ingest_tokens`` would refuse of any of ``cuts``, its parameters.

    ``images`` says whether the corpus, which need not be there yet, holds images. Hashes the
    models' weights. Raises InputError.
    """
    named: dict[tuple[str, str], tuple[str, str]] = {}
    for cut in cuts:
        for kind, name, meant in _check_cut(lake, images=images, **cut):
            known, source = named.setdefault((kind, name), (meant, cut["source"]))
            if known != meant:
                raise NameTakenError(
                    f"the {kind} of {source} and that of {cut['source']} differ and would both be "
                    f"called {name}; give one of the models another name"
                )


def _check_cut(
    lake: Lake,
    *,
    images: bool,
    corpus: str,
    source: str,
    model: str | None = None,
    revision: str | None = None,
    window: int | None = None,
    overlap: int = 0,
    windowing: str = "document",
    rowset: str | None = None,
    rows: str | None = None,
    trust_remote_code: bool = False,
) -> list[tuple[str, str, str]]:
    """What the rows and their tokenizer would be called, and what each means."""
    from actlake.flows.extraction import models, tokens

    facts = models.inspect_model(
        source, name=model, revision=revision, trust_remote_code=trust_remote_code
    )
    refuse_other_kind(corpus, facts, images=images)
    plan = token_plan(
        lake,
        facts,
        corpus=corpus,
        corpus_fingerprint="",  # of one that is not there yet
        window=window,
        overlap=overlap,
        windowing=windowing,
        rowset=rowset,
    )
    if rows is not None:
        check_name("rowset", chosen_name(plan.name, mask_asked(lake, rows).name))
    if not images:
        tokenizer, size = models.load_tokenizer(facts), plan.window or 0
        tokens.tokenize_documents(tokenizer, (), windowing=windowing, window=size, overlap=overlap)
    return [
        ("tokenizer", facts.tokenizer, facts.tokenizer_fingerprint),
        ("rowset", plan.name, plan.fingerprint()),
    ]


def check_pipeline(lake: Lake, asked: PipelineFile, *, new: bool) -> None:
    """Refuse what a pipeline would after it has begun: of masks, models, sites and dictionaries,
    and of the source, all of which is read, if the lake is ``new``. Raises InputError.
    """
    if asked.summary is not None and asked.summary.token_sets is not None:
        read_token_sets(Path(asked.summary.token_sets))
    if new:
        documents = asked.documents is not None
        check_corpus(asked.corpus.name, asked.corpus.source, documents=documents)
    for mask in asked.masks:
        check_predicate(mask.predicate, "tokens", con=lake.reading.connection().raw)
    made = {mask.name for mask in asked.masks}  # by the pipeline, so that the lake has none yet
    cuts = [cut for cut in (cutting(asked, model) for model in asked.models) if cut]
    cuts = [cut | {"rows": None} if cut["rows"] in made else cut for cut in cuts]
    check_cuts(lake, cuts, images=bool(cuts) and holds_images(asked.corpus.source))
    widths = _widths(asked)
    for one in asked.dictionaries:
        if one.tensor in widths:
            n_features = getattr(one, "n_features", None)
            dictionary_size(one.method, one.tensor, widths[one.tensor], n_features, one.k)


def _widths(asked: PipelineFile) -> dict[str, int]:
    """Of each tensor that the models give, by what the file calls it."""
    from actlake.flows.extraction.devices import choose_device

    widths: dict[str, int] = {}
    for model in asked.models:
        _, sites, _ = sites_asked(
            model.source,
            model.sites,
            model=model.name,
            revision=model.revision,
            attention=model.attention,
            random_weights=model.random_weights,
            trust_remote_code=model.trust_remote_code,
        )
        choose_device(model.device)
        widths |= {f"{model.name}:{site.alias}": site.width for site in sites}
    return widths
