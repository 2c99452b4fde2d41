"""summarize --weights: what a dictionary's weights say of each feature, without any row."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actlake.analytics.dictionaries.dictionary import Dictionary
from actlake.flows.extract_again import Extraction
from actlake.flows.feature_table import feature_table
from actlake.flows.progress import progress, say
from actlake.flows.replacing import deletion, replaced
from actlake.storage.dictionary_files import DictionaryFile
from actlake.storage.errors import InputError, LakeError
from actlake.storage.keys import Json
from actlake.storage.lake import Lake
from actlake.storage.transaction import Transaction

if TYPE_CHECKING:  # torch takes seconds to import, so only a run that computes pays for it
    from actlake.flows.extraction.models import ModelFacts

__all__ = ["summarize_weights"]

VERSION = "1"
RESIDUAL = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")
"""Sites that the unembedding can read: they are, or are added to, the residual stream."""
LOGITS = ("mean", "std", "skew", "kurtosis", "max", "entropy")
Columns = Mapping[str, NDArray[Any]]


def summarize_weights(lake: Lake, *, dictionary: str, tokens: int = 10) -> None:
    """Fill features and feature_logits of a dictionary; what was there of it is replaced.

    tokens
        To keep of each feature, raised most and lowered most.

    Effects on logits are told where the dictionary is of the residual stream of a causal model
    whose files are where they were; elsewhere its columns are NULL, and why is said.
    """
    if tokens < 1:
        raise InputError("summarize keeps at least 1 token of each feature")
    file = lake.dictionary(dictionary)
    facts = _model(lake, file)
    parameters: dict[str, Json] = {"dictionary": dictionary, "tokens": tokens}
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
        tables = _tables(file, facts, run.run, tokens)

        def replace(transaction: Transaction) -> None:
            for table in tables:
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
    file: DictionaryFile, facts: "ModelFacts | None", run: str, k: int
) -> dict[str, pa.Table]:
    # Torch and the tiles of a large dictionary, only where they are wanted.
    from actlake.analytics.dictionaries.logit_effects import logit_effects
    from actlake.analytics.dictionaries.weight_facts import weight_facts
    from actlake.flows.extraction.unembedding import load_unembedding

    columns = weight_facts(Dictionary(file.method, file.config, file.arrays))
    nearest = columns["nearest_decoder"].astype(np.float64)
    columns["nearest_decoder"] = np.where(nearest < 0, np.nan, nearest)
    columns |= {f"logit_{name}": np.full(file.n_features, np.nan) for name in LOGITS}
    key = {"dictionary": file.name, "run": run}
    extremes = []
    if facts is not None:
        unembedding = load_unembedding(facts)
        decoder = file.arrays.get("W_dec", np.eye(file.width, dtype=np.float32))
        with progress(f"effects of {file.name} on logits", file.n_features) as advance:
            for shape, extreme in logit_effects(decoder, unembedding, k):
                here = shape.pop("feature")
                for name, values in shape.items():
                    columns[name][here] = values
                extremes.append(feature_table("feature_logits", extreme, key))
                advance(len(here))
    found = {"features": feature_table("features", columns, key)}
    if extremes:
        found["feature_logits"] = pa.concat_tables(extremes)
    return found
