"""A small lake whose every number is known: 40 short speeches, planted features, two dictionaries.

Words are tokens, so a feature that was planted on a word must come back with that word. A test
module that imports ``shared_small_lake`` has it as the fixture ``small_lake``.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from actlake.analytics.dictionaries.dictionary import Dictionary
from actlake.analytics.dictionaries.neighbours import nearest
from actlake.analytics.dictionaries.weight_facts import weight_facts
from actlake.analytics.features.tokens import FeatureTokens
from actlake.analytics.statistic import Arrays
from actlake.flows.feature_table import feature_table
from actlake.flows.summarize_weights import LOGITS
from actlake.flows.summary_merging import Merging
from actlake.flows.summary_states import blocks_of, statistics_of
from actlake.flows.summary_tables import tables_of
from actlake.storage import Codes, Csr, Document, Lake, Rowset
from actlake.storage.codes_writer import (
    CodesPlan,
    commit_codes,
    plan_codes,
    publish_codes,
    seal_codes,
)
from actlake.storage.csr import csr_from_dense
from actlake.storage.dictionary_files import write_dictionary
from actlake.storage.fields import arrow_schema
from actlake.storage.partials import Slices
from actlake.storage.rowset_writer import RowsetPlan, complete_columns, write_rowset
from actlake.storage.run import Run
from actlake.storage.tensor_writer import (
    TensorPlan,
    commit_shards,
    plan_tensors,
    publish_shard,
    seal,
)
from tests.shared import made_once

CORPUS, TOKENIZER, ROWSET, TENSOR = "speeches", "words", "speeches@words", "toy:resid@speeches"
TOPK, IDENTITY = "topk:toy:resid:16", "identity:toy:resid:16"
MASK, SHOWN_TOKENS, FEATURES = "no_special", 8, 16
DOCUMENTS, WORDS = 40, 24

START = "<start>"
PLANTED = {0: "war", 1: "peace", 2: "1942", 3: START}
"""Feature to the word on which alone it fires, and on which it always does."""
DEAD = (14, 15)
FVU = {"fvu": 0.21, "fvu_pca": 0.43, "fvu_random": 0.96, "l0": 3.5, "dead_share": 0.125}
"""Of the topk dictionary on held-out rows; on train rows each is a tenth smaller."""

_COMMON = (
    "the of and to we our in that a is for it people nation must will have be this with war peace "
    "1942 work congress year law great world free"
).split()
HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img",
    "\u202eterces",
    "a\x07b",
    "שלום",
    "R&D",
    "$x_1$",
)
"""Words of the last document: what a page must show and never obey."""
VOCABULARY = (START, *_COMMON, *HOSTILE)


def build_small_lake(path: Path) -> Lake:
    """A new lake at ``path``: corpus, rowset, tensor, two sealed codes, summaries, evaluations."""
    lake = Lake.create(path)
    texts = _texts()
    lake.create_corpus(CORPUS, list(_documents(texts)), source="written for tests")
    columns = _columns(texts)
    signal = _signal(columns["token_id"])
    with lake.run("test", {}, {}) as run:  # one for all: every run costs two more commits
        _create_rowset(run, columns)
        _create_tensor(run, lake.rowset(ROWSET), signal)
        for name, block in ((TOPK, _three_largest(signal)), (IDENTITY, np.maximum(signal, 0))):
            _create_dictionary(run, name)
            _encode(run, lake.rowset(ROWSET), name, csr_from_dense(block, dtype="float16"))
            _summarize(lake, run, lake.codes(codes_name(name)))
    return lake


@pytest.fixture(name="small_lake", scope="session")
def shared_small_lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The small lake of this session; copy it before writing."""
    return Lake.open(small_lake_made(tmp_path_factory))


def small_lake_made(factory: pytest.TempPathFactory) -> Path:
    return made_once(factory, "small-lake", lambda path: build_small_lake(path).close())


def codes_name(dictionary: str) -> str:
    return f"{dictionary}@{CORPUS}"


def _texts() -> list[str]:
    rng = np.random.default_rng(7)
    texts = [" ".join(rng.choice(_COMMON, WORDS)) for _ in range(DOCUMENTS - 1)]
    return [*texts, " ".join(word for hostile in HOSTILE for word in ("war", hostile, "peace"))]


def _documents(texts: list[str]) -> Iterator[Document]:
    for index, text in enumerate(texts):
        party = ("Democratic", "Republican")[index // 8 % 2]
        labels: dict[str, str | int | float | bool | None] = {
            "year": 1901 + 3 * index,
            "president": f"President {index // 8}",
            "party": party,
        }
        if index == DOCUMENTS - 1:
            labels["president"] = '<b>President</b> & "Co"'
        yield Document(f"speech-{index:02}" + "<i>" * (index == DOCUMENTS - 1), text, labels)


def _columns(texts: list[str]) -> dict[str, NDArray[Any]]:
    """A special first token in every document, then one token a word."""
    known = {word: index for index, word in enumerate(VOCABULARY)}
    rows: list[tuple[int, int, int, int, bool]] = []
    for document, text in enumerate(texts):
        rows.append((document, 0, 0, 0, True))
        start = 0
        for word in text.split(" "):
            rows.append((document, known[word], start, start + len(word), False))
            start += len(word) + 1
    names = ("document", "token_id", "char_start", "char_stop", "is_special")
    return {
        name: np.array(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)
    }


def _create_rowset(run: Run, columns: Mapping[str, NDArray[Any]]) -> None:
    plan = RowsetPlan(
        name=ROWSET,
        corpus=CORPUS,
        corpus_fingerprint="known",
        kind="token",
        tokenizer=TOKENIZER,
        tokenizer_fingerprint="known",
        windowing="document",
        window=64,
        overlap=0,
    )
    write_rowset(run, plan, [complete_columns(columns)], VOCABULARY)


def _create_tensor(run: Run, rowset: Rowset, signal: NDArray[np.float32]) -> None:
    plan = TensorPlan(
        name=TENSOR,
        model="toy",
        model_fingerprint="known",
        site="resid",
        module="resid",
        side="given",
        rowset=rowset,
        dtype="float32",
        compute_dtype="float32",
        width=FEATURES,
    )
    ids = plan_tensors(run, [plan])
    spans = [rowset.grid.span(shard) for shard in range(len(rowset.grid))]
    receipts = [
        receipt
        for shard, (start, stop) in enumerate(spans)
        for receipt in publish_shard(run, plan, ids[TENSOR], shard, signal[start:stop])
    ]
    commit_shards(run, receipts, "every shard")
    seal(run, [plan], ids)


def _signal(token_id: NDArray[np.int64]) -> NDArray[np.float32]:
    """Planted features, ten that fire at random with falling density, and two that never do."""
    rng = np.random.default_rng(11)
    rows = len(token_id)
    densities = np.geomspace(0.4, 0.01, FEATURES - len(PLANTED) - len(DEAD))
    signal = np.zeros((rows, FEATURES), np.float32)
    for feature, density in enumerate(densities, start=len(PLANTED)):
        strength = rng.lognormal(0, 0.5, rows)
        signal[:, feature] = np.where(rng.random(rows) < density, strength, 0)
    for feature, word in PLANTED.items():
        strength = 5 + rng.lognormal(0, 0.5, rows)
        signal[:, feature] = np.where(token_id == VOCABULARY.index(word), strength, 0)
    return signal


def _three_largest(signal: NDArray[np.float32]) -> NDArray[np.float32]:
    third = np.sort(signal, axis=1)[:, -3, None]
    return np.where(signal >= third, signal, 0)


def _create_dictionary(run: Run, name: str) -> None:
    tables: dict[str, pa.Table] = {}
    if name == TOPK:
        rows = [
            {
                "dictionary": name,
                "tensor": TENSOR,
                "mask": MASK,
                "split": split,
                "metric": metric,
                "value": value * scale,
                "n": n,
                "run": run.run,
            }
            for split, scale, n in (("holdout", 1.0, 96), ("train", 0.9, 864))
            for metric, value in FVU.items()
        ]
        tables["evaluations"] = pa.Table.from_pylist(rows, arrow_schema("evaluations"))
    if name == TOPK:
        tables |= _weights(name, run.run)
    write_dictionary(
        run,
        name=name,
        method=name.partition(":")[0],
        tensor=TENSOR,
        n_features=FEATURES,
        width=FEATURES,
        config={"k": 3},
        arrays={"decoder": np.eye(FEATURES, dtype=np.float32)},
        fingerprint=name,
        tables=tables,
    )


def _weights(name: str, run: str) -> dict[str, pa.Table]:
    """Facts of a decoder whose feature 5 is nearly feature 4, and logits of planted words."""
    decoder = np.eye(FEATURES, dtype=np.float32)
    decoder[5, 4] = 3
    arrays = {
        "W_enc": decoder.T.copy(),
        "b_enc": np.zeros(FEATURES, np.float32),
        "W_dec": decoder,
        "b_dec": np.zeros(FEATURES, np.float32),
    }
    config = {"n_features": FEATURES, "width": FEATURES, "k": 3}
    facts = weight_facts(Dictionary("topk", config, arrays))
    first = facts["nearest_decoder"].astype(float)
    shape = {f"logit_{one}": np.full(FEATURES, np.nan) for one in LOGITS}
    shape["logit_std"] = np.full(FEATURES, 0.5)
    facts |= {"nearest_decoder": first, **shape}
    words = [
        {"dictionary": name, "feature": feature, "kind": kind, "rank": 1}
        | {"token_id": VOCABULARY.index(one), "effect": sign * 2.0}
        for feature, word in PLANTED.items()
        for kind, sign, one in (("top", 1, word), ("bottom", -1, "the"))
    ]
    rows = [
        {"dictionary": name, "feature": feature, "token_set": token_set, "n_set": n, "run": run}
        | {"n_tokens": len(VOCABULARY), "random_score": 0.8, "q": 2 * p, "n_tests": 8}
        | {"score": score, "p": p}
        for feature in PLANTED
        for token_set, n, score, p in (("space", 4, 0.6, 0.02), ("nouns", 2, 1 - feature / 9, 0.01))
    ]
    sets = pa.Table.from_pylist(rows, arrow_schema("feature_token_sets"))
    return {
        "feature_token_sets": sets,
        "feature_neighbours": feature_table(
            "feature_neighbours", nearest(decoder, 3).table(), {"dictionary": name, "run": run}
        ),
        "features": feature_table("features", facts, {"dictionary": name, "run": run}),
        "feature_logits": pa.Table.from_pylist(words, arrow_schema("feature_logits")),
    }


def _encode(run: Run, rowset: Rowset, dictionary: str, block: Csr) -> None:
    plan = CodesPlan(
        name=codes_name(dictionary),
        dictionary=dictionary,
        dictionary_fingerprint=dictionary,
        n_features=FEATURES,
        tensor=TENSOR,
        tensor_fingerprint="known",
        rowset=rowset,
        dtype="float16",
    )
    codes_id = plan_codes(run, plan)
    shard_of_row = np.arange(block.rows) // rowset.shard_rows
    shards = [
        publish_codes(run, plan, codes_id, shard, block.keep(shard_of_row == shard))
        for shard in range(len(rowset.grid))
    ]
    commit_codes(run, shards, f"codes {plan.name}")
    seal_codes(run, plan, codes_id)


def _summarize(lake: Lake, run: Run, codes: Codes) -> None:
    whole = _Whole(lake, codes.name, [codes], MASK, [{}])
    tables, bins = tables_of(whole, run, SHOWN_TOKENS, SHOWN_TOKENS)
    run.append(tables, f"summary of {codes.name}", staged=bins)


class _Whole(Merging):
    """The states of a summary that keeps no partials."""

    def states(self, at: int, name: str, from_arrays: Callable[[Arrays], Any]) -> Iterator[Any]:
        codes, make = self.members[at], statistics_of(SHOWN_TOKENS, None)[name]
        shards = range(len(codes.grid))
        return map(make, blocks_of(self.lake, codes, self.lake.mask(self.mask), shards))

    def slices(self, at: int, name: str, shard: int) -> Slices:
        arrays = [*self.states(at, name, FeatureTokens.from_arrays)][shard].arrays()
        return lambda array, start, stop: np.array(arrays[array][start:stop])
