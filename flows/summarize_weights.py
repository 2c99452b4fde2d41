"""summarize --weights: what a dictionary's weights say of each feature, without any row."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actlake.analytics.dictionaries.dictionary import Dictionary
from actlake.analytics.hypotheses.correction import benjamini_hochberg
from actlake.flows.extract_again import Extraction
from actlake.flows.feature_table import feature_table
from actlake.flows.progress import progress, say
from actlake.flows.replacing import deletion, replaced
from actlake.flows.token_sets import NamedSets, named_members
from actlake.storage.dictionary_files import DictionaryFile
from actlake.storage.errors import InputError, LakeError
from actlake.storage.keys import Json
from actlake.storage.lake import Lake
from actlake.storage.transaction import Transaction

if TYPE_CHECKING:  # torch takes seconds to import, so only a run that computes pays for it
    from actlake.analytics.dictionaries.logit_effects import TokenSets, Unembedding
    from actlake.flows.extraction.models import ModelFacts

__all__ = ["summarize_weights"]

VERSION = "3"
RESIDUAL = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")
"""Sites that the unembedding can read: they are, or are added to, the residual stream."""
LOGITS = ("mean", "std", "skew", "kurtosis", "max", "entropy")
DIRECTIONS, BELOW, SEED = 400, 0.99, 0
"""Random directions that scores of token sets are held against, and the share to be above."""
FILLED = ("features", "feature_neighbours", "feature_logits", "feature_token_sets")
Columns = Mapping[str, NDArray[Any]]
Tables = dict[str, pa.Table]


def summarize_weights(
    lake: Lake,
    *,
    dictionary: str,
    tokens: int = 10,
    neighbours: int = 10,
    token_sets: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Fill features, feature_neighbours, feature_logits and feature_token_sets of a dictionary.

    What was there of it is replaced.

    tokens
        To keep of each feature, raised most and lowered most.
    neighbours
        Features to keep of each, those of the nearest decoder directions.
    token_sets
        Texts of tokens by the name of a set, beside those of ``token_sets.LOOKS``.

    Effects on logits are told where the dictionary is of the residual stream of a causal model
    whose files are where they were; elsewhere its columns are NULL, there are no sets, and why is
    said. InputError for a set of no token.
    """
    if tokens < 1:
        raise InputError("a summary without tokens tells nothing; give 1 or more")
    if neighbours < 1:
        raise InputError("the nearest feature is always told; give 1 neighbour or more")
    file = lake.dictionary(dictionary)
    facts = _model(lake, file)
    given = token_sets or {}
    if given and facts is None:
        say(f"summarize: {dictionary} has no effects on logits that token sets could be seen in")
    tokenizer = lake.tensor(file.tensor).rowset.tokenizer
    sets = named_members(lake, tokenizer, given if facts is not None else {})
    parameters: dict[str, Json] = {
        "dictionary": dictionary,
        "tokens": tokens,
        "neighbours": neighbours,
        "token_sets": {name: [*texts] for name, texts in given.items()},
    }
    inputs = {
        "dictionary": file.fingerprint,
        "model": facts.fingerprint if facts else "",
        "version": VERSION,
    }
    same = {"dictionary": dictionary}
    inputs["replaces"] = replaced(lake, "features", same, parameters, inputs)
    with lake.run("summarize_weights", parameters, inputs) as run:
        if run.done:
            say(f"summarize: weights of {dictionary} found complete")
            return
        tables = _tables(file, facts, sets, run.run, tokens, neighbours)

        def replace(transaction: Transaction) -> None:
            for table in FILLED:
                deletion(transaction, table, same)

        run.append(tables, f"weights of {dictionary}", check=replace)


def _model(lake: Lake, file: DictionaryFile) -> "ModelFacts | None":
    """The model whose logits the dictionary's directions have effects on, if there is one."""
    from actlake.flows.extraction.unembedding import has_unembedding

    tensor = lake.tensor(file.tensor)
    if tensor.site.partition(".")[0] not in RESIDUAL or tensor.columns is not None:
        return None
    try:
        facts = Extraction(lake, {}, "cpu").facts(tensor)
        if facts.random_weights is None and facts.width == file.width and has_unembedding(facts):
            return facts
        return None
    except LakeError as error:
        say(f"summarize: no effects of {file.name} on logits: {error}")
        return None


def _tables(
    file: DictionaryFile,
    facts: "ModelFacts | None",
    sets: NamedSets,
    run: str,
    k: int,
    neighbours: int,
) -> Tables:
    # Torch and the tiles of a large dictionary, only where they are wanted.
    from actlake.analytics.dictionaries.logit_effects import logit_effects
    from actlake.analytics.dictionaries.neighbours import nearest
    from actlake.analytics.dictionaries.weight_facts import weight_facts
    from actlake.flows.extraction.unembedding import load_unembedding

    near = nearest(file.arrays["W_dec"], neighbours) if "W_dec" in file.arrays else None
    columns = weight_facts(Dictionary(file.method, file.config, file.arrays), near)
    first = columns["nearest_decoder"].astype(np.float64)
    columns["nearest_decoder"] = np.where(first < 0, np.nan, first)
    columns |= {f"logit_{name}": np.full(file.n_features, np.nan) for name in LOGITS}
    key = {"dictionary": file.name, "run": run}
    found: Tables = {}
    if near is not None:
        found["feature_neighbours"] = feature_table("feature_neighbours", near.table(), key)
    if facts is None:
        return found | {"features": feature_table("features", columns, key)}
    unembedding = load_unembedding(facts)
    asked = sets.among(len(unembedding.weight))
    decoder = file.arrays.get("W_dec", np.eye(file.width, dtype=np.float32))
    extremes, scores = [], []
    with progress(f"effects of {file.name} on logits", file.n_features) as advance:
        for block in logit_effects(decoder, unembedding, k, asked):
            here = block.features.pop("feature")
            for name, values in block.features.items():
                columns[name][here] = values
            extremes.append(feature_table("feature_logits", block.tokens, key))
            scores.append(block.scores)
            advance(len(here))
    found["features"] = feature_table("features", columns, key)
    found["feature_logits"] = pa.concat_tables(extremes)
    if asked is not None:
        enriched = _enriched(np.concatenate(scores), unembedding, asked)
        enriched["token_set"] = np.tile(np.array(sets.names, object), file.n_features)
        found["feature_token_sets"] = feature_table("feature_token_sets", enriched, key)
    return found


def _enriched(
    scores: NDArray[np.float64], unembedding: "Unembedding", sets: "TokenSets"
) -> dict[str, NDArray[Any]]:
    """Columns of feature_token_sets but the names; scores of shape (features, sets)."""
    from actlake.analytics.dictionaries.enrichment import enrichment_p
    from actlake.analytics.dictionaries.logit_effects import random_scores

    by_chance = random_scores(unembedding, sets, directions=DIRECTIONS, seed=SEED)
    size, tokens = sets.members.sum(axis=1), sets.members.shape[1]
    p = enrichment_p(scores, size, tokens).ravel()
    features, count = scores.shape
    return {
        "feature": np.repeat(np.arange(features), count),
        "n_set": np.tile(size, features),
        "n_tokens": np.full(scores.size, tokens),
        "score": scores.ravel(),
        "random_score": np.tile(np.quantile(np.abs(by_chance), BELOW, axis=0), features),
        "p": p,
        "q": benjamini_hochberg(p),
        "n_tests": np.full(scores.size, scores.size),
    }
