"""The tiny lake, built with the public writers, to read or to break."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from actlake.storage.codes_writer import (
    CodesPlan,
    commit_codes,
    plan_codes,
    publish_codes,
    seal_codes,
)
from actlake.storage.corpora import Document
from actlake.storage.csr import csr_from_dense
from actlake.storage.dictionary_files import write_dictionary
from actlake.storage.fields import arrow_schema
from actlake.storage.lake import Lake
from actlake.storage.run import Run
from tests.shared import made_once
from tests.sql.tiny import (
    CAT,
    CODES,
    DENSE,
    DOCUMENT_CODES,
    DOCUMENT_DENSE,
    FEATURES,
    LABELS,
    N_FEATURES,
    NEIGHBOURS,
    ROWS,
    START,
    TEXTS,
    THE,
    WORDS,
    summary,
    token_ids,
    vocabulary,
)


def table(name: str, rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), arrow_schema(name))


def write(lake: Lake, tables: Mapping[str, Sequence[dict[str, Any]]], key: str = "rows") -> None:
    """Append rows to tables; ``$run`` in a column run stands for the run's own id."""
    with lake.run("test", {"key": key}, {}) as run:
        run.append(
            {
                name: table(
                    name, [row | ({"run": run.run} if "run" in row else {}) for row in rows]
                )
                for name, rows in tables.items()
            },
            key,
        )


def ask(lake: Lake, name: str, **parameters: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = lake.query(name, **parameters).arrow().to_pylist()
    return found


def column(rows: list[dict[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in rows]


def encode(run: Run, lake: Lake, plan: CodesPlan, dense: NDArray[np.float32]) -> None:
    codes_id = plan_codes(run, plan)
    shards = []
    for shard in range(len(plan.rowset.grid)):
        start, stop = plan.rowset.grid.span(shard)
        block = csr_from_dense(dense[start:stop], dtype="float16")
        shards.append(publish_codes(run, plan, codes_id, shard, block))
    commit_codes(run, shards, "every shard")
    seal_codes(run, plan, codes_id)


def build(path: Path) -> Lake:
    lake = Lake.create(path)
    documents = [
        Document(f"doc-{index}", text, labels)
        for index, (text, labels) in enumerate(zip(TEXTS, LABELS, strict=True))
    ]
    lake.create_corpus("tiny", documents)
    columns = {
        "document": np.array([row[0] for row in ROWS]),
        "token_id": token_ids(),
        "char_start": np.array([row[2] for row in ROWS]),
        "char_stop": np.array([row[3] for row in ROWS]),
        "is_special": np.array([row[1] == START for row in ROWS]),
    }
    lake.create_rowset("tiny@words", corpus="tiny", columns=columns, tokenizer="words")
    whole = {
        "document": np.arange(len(TEXTS)),
        "char_start": np.zeros(len(TEXTS), int),
        "char_stop": np.array([len(text) for text in TEXTS]),
    }
    lake.create_rowset("tiny@documents", corpus="tiny", columns=whole, kind="document")
    for name, rowset, dense in (
        ("toy:resid@tiny", "tiny@words", DENSE),
        ("toy:pooled@tiny", "tiny@documents", DOCUMENT_DENSE),
    ):
        width = dense.shape[1]
        site = name.partition(":")[2].partition("@")[0]
        with lake.create_tensor(name, rowset=rowset, width=width, model="toy", site=site) as tensor:
            tensor.append(dense)
    with lake.run("test", {"key": "codes"}, {}) as run:
        for codes, tensor_name, rowset, dense in (
            (CODES, "toy:resid@tiny", "tiny@words", DENSE),
            (DOCUMENT_CODES, "toy:pooled@tiny", "tiny@documents", DOCUMENT_DENSE),
        ):
            dictionary, width = codes.partition("@")[0], dense.shape[1]
            write_dictionary(
                run,
                name=dictionary,
                method=dictionary.partition(":")[0],
                tensor=tensor_name,
                n_features=width,
                width=width,
                config={"k": 2} if dictionary.startswith("topk") else {},
                arrays={"decoder": np.eye(width, dtype=np.float32)},
                fingerprint=f"fingerprint of {dictionary}",
                tables={},
            )
            plan = CodesPlan(
                name=codes,
                dictionary=dictionary,
                dictionary_fingerprint=f"fingerprint of {dictionary}",
                n_features=width,
                tensor=tensor_name,
                tensor_fingerprint="any",
                rowset=lake.rowset(rowset),
                dtype="float16",
            )
            encode(run, lake, plan, dense)
    model = {
        "model": "toy",
        "fingerprint": "fingerprint of toy",
        "source": "tests",
        "path": "nowhere",
        "architecture": "none",
        "layers": 1,
        "width": N_FEATURES,
        "vocabulary": len(vocabulary()),
        "run": "",
    }
    spoken = [
        {"tokenizer": "words", "token_id": index, "text": text}
        for index, text in enumerate(vocabulary())
    ]
    write(lake, {"models": [model], "vocabulary": spoken}, "model")
    ids, everything = token_ids(), np.ones(len(ROWS), bool)
    summaries = [
        summary(CODES, "all", DENSE, everything, ids),
        summary(CODES, "no_special", DENSE, ~columns["is_special"], ids),
        summary(DOCUMENT_CODES, "all", DOCUMENT_DENSE, np.ones(len(TEXTS), bool), None),
    ]
    merged = {name: [row for one in summaries for row in one[name]] for name in summaries[0]}
    merged["evaluations"] = [
        {
            "dictionary": "topk:toy:resid",
            "tensor": "toy:resid@tiny",
            "mask": "all",
            "split": split,
            "metric": metric,
            "value": value,
            "n": n,
            "run": "",
        }
        for split, n in (("train", 14), ("holdout", 4))
        for metric, value in (("fvu", 0.25), ("fvu_pca", 0.5), ("l0", 1.5))
    ]
    merged["feature_pairs"] = [pair(THE, WORDS), pair(WORDS, THE)]
    merged["feature_labels"] = [label_score("", 1.0), label_score("1901", 1.0)]
    merged["features"] = [
        {"dictionary": "topk:toy:resid", "feature": feature, "run": ""} | facts
        for feature, facts in enumerate(FEATURES)
    ]
    merged["feature_neighbours"] = [
        {"dictionary": "topk:toy:resid", "feature": feature, "rank": rank, "run": ""}
        | {"neighbour": neighbour, "cosine": cosine, "p": p}
        for feature, rank, neighbour, cosine, p in NEIGHBOURS
    ]
    merged["feature_logits"] = [
        {
            "dictionary": "topk:toy:resid",
            "feature": THE,
            "kind": kind,
            "rank": rank,
            "token_id": token,
            "effect": effect,
        }
        for kind, sign in (("top", 1), ("bottom", -1))
        for rank, token, effect in ((1, 2 + sign, sign * 4.0), (2, 4 + sign, sign * 2.0))
    ]
    merged["feature_token_sets"] = [
        {"dictionary": "topk:toy:resid", "feature": THE, "token_set": "space", "run": ""}
        | {"n_set": 2, "n_tokens": 9, "score": -0.5, "random_score": 0.4, "p": 0.02, "q": 0.04}
        | {"n_tests": 2}
    ]
    merged["similarities"] = [similarity("toy:resid@tiny", "toy:pooled@tiny", p=0.03)]
    write(lake, merged, "summaries")
    return lake


def pair(a: int, b: int) -> dict[str, Any]:
    """A row of ``feature_pairs`` of CODES over all rows."""
    x, y = DENSE[:, a].astype(float), DENSE[:, b].astype(float)
    return {
        "codes": CODES,
        "mask": "all",
        "level": "token",
        "feature_a": a,
        "rank": 1,
        "feature_b": b,
        "n": len(x),
        "fires_a": int((x > 0).sum()),
        "fires_b": int((y > 0).sum()),
        "joint": int(((x > 0) & (y > 0)).sum()),
        "sum_a": x.sum(),
        "sum_b": y.sum(),
        "square_a": x @ x,
        "square_b": y @ y,
        "product": x @ y,
        "p": 0.5,
        "q": 0.5,
        "n_tests": 1,
        "run": "",
    }


def label_score(subset: str, auroc: float) -> dict[str, Any]:
    """A row of ``feature_labels``: feature CAT tells documents of the party red."""
    counts = {"n_positive": 2, "n_negative": 1, "fires_positive": 1, "fires_negative": 0}
    sums = {"sum_positive": 1.0, "sum_negative": 0.0, "square_positive": 1.0}
    ones = ("auprc", "threshold", "precision", "f1", "p", "q", "p_fisher", "q_fisher")
    scores = dict.fromkeys((*ones, "information", "information_by_chance"), 1.0)
    return {
        "codes": CODES,
        "mask": "all",
        "label": "party",
        "value": "red",
        "subset_by": "year",
        "subset": subset,
        "level": "document",
        "pooling": "max",
        "feature": CAT,
        **counts,
        **sums,
        **scores,
        "square_negative": 0.0,
        "auroc": auroc,
        "recall": 0.5,
        "top_n": 1,
        "top_positive": 1,
        "n_tests": 1,
        "run": "",
    }


def similarity(a: str, b: str, *, p: float) -> dict[str, Any]:
    """A row of ``similarities``; its p is all that differs."""
    return {
        "tensor_a": a,
        "tensor_b": b,
        "mask": "all",
        "method": "cka",
        "value": 0.5,
        "null_mean": 0.125,
        "cut_mean": 0.375,
        "null_share": 0.75,
        "n": 4,
        "documents": 4,
        "text_aligned": 1.0,
        "permutations": 99,
        "p": p,
        "q": p,
        "run": "",
    }


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "tiny-sql-lake", lambda path: build(path).close())


@pytest.fixture(scope="session")
def tiny(tiny_path: Path) -> Iterator[Lake]:
    """The lake; read it, and leave it as it is."""
    lake = Lake.open(tiny_path)
    yield lake
    lake.close()


@pytest.fixture
def copied(tiny_path: Path, tmp_path: Path) -> Iterator[Lake]:
    """A copy of the lake, to break."""
    shutil.copytree(tiny_path, tmp_path / "lake")
    lake = Lake.open(tmp_path / "lake")
    yield lake
    lake.close()
