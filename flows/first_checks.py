"""What is refused before a corpus, or the lake itself, is made: sources, models and their sites."""

from pathlib import Path

from actlake.flows.default_names import chosen_name, rowset_name
from actlake.flows.extract_request import sites_asked
from actlake.flows.ingest import mask_asked
from actlake.flows.pipeline import cutting
from actlake.flows.pipeline_file import PipelineFile
from actlake.flows.rowset_checks import refuse_long_window, refuse_taken_tokenizer
from actlake.flows.sources import Source, read
from actlake.flows.token_sets import read_token_sets
from actlake.storage.corpora import examine_documents
from actlake.storage.keys import check_name
from actlake.storage.lake import Lake

__all__ = ["check_corpus", "check_model", "check_pipeline"]


def check_corpus(corpus: str, source: Source) -> None:
    """Refuse what ``ingest`` would refuse; reads all of the source. Raises InputError."""
    check_name("corpus", corpus)
    examine_documents(read(source), source=source.path)


def check_model(
    lake: Lake,
    *,
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
) -> None:
    """Refuse what ``ingest_tokens`` would refuse; parameters as there.

    Hashes the model's weights. Raises InputError.
    """
    from actlake.flows.extraction import models, tokens

    facts = models.inspect_model(
        source, name=model, revision=revision, trust_remote_code=trust_remote_code
    )
    cut = facts.default_window if window is None else window
    name = rowset_name(corpus, facts.tokenizer, cut) if rowset is None else rowset
    if rows is not None:
        name = chosen_name(name, mask_asked(lake, rows).name)
    refuse_long_window(check_name("rowset", name), cut, facts)
    refuse_taken_tokenizer(lake, facts)
    tokenizer = models.load_tokenizer(facts)
    tokens.tokenize_documents(tokenizer, (), windowing=windowing, window=cut, overlap=overlap)


def check_pipeline(lake: Lake, asked: PipelineFile) -> None:
    """Refuse what the first steps of a pipeline would: its corpus, masks, models or their sites.

    Reads all of the source, and writes the masks. Raises InputError.
    """
    if asked.summary is not None and asked.summary.token_sets is not None:
        read_token_sets(Path(asked.summary.token_sets))
    check_corpus(asked.corpus.name, asked.corpus.source)
    for mask in asked.masks:
        lake.create_mask(mask.name, mask.predicate)
    for model in asked.models:
        if cut := cutting(asked, model):
            check_model(lake, **cut)
        sites_asked(
            model.source,
            model.sites,
            model=model.name,
            revision=model.revision,
            attention=model.attention,
            random_weights=model.random_weights,
            trust_remote_code=model.trust_remote_code,
        )
