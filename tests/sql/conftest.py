"""A lake of 18 tokens in four documents, whose every number can be counted by hand.

The texts hold a combining accent, two-byte letters and an emoji of five code points that a
tokenizer cut in two. Summaries are computed here with numpy, not by the project.
"""

import re
import shutil
from collections.abc import Iterator, Sequence
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

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
TEXTS = ("the cat sat", "naïve 日本 cafe\u0301 end", f"family {FAMILY} the cat", "the dog")
LABELS: tuple[dict[str, str | int | None], ...] = (
    {"party": "red", "year": 1901},
    {"party": "blue", "year": 1902},
    {"party": "red", "year": 1903},
    {"party": None, "year": 1904},
)
START = "<s>"
CODES, DOCUMENT_CODES = "topk:toy:resid@tiny", "identity:toy:pooled@tiny"
N_FEATURES = 6
THE, CAT, LONE, DEAD, WORDS, SPECIAL = range(N_FEATURES)
"""Features: fire on " the", on " cat", on one row, never, on every word, and on every special."""
KEPT = 3
"""Examples and tokens that the summaries keep."""


def words() -> list[tuple[int, str, int, int]]:
    """Document, text and span of each row; a special first in each document."""
    rows = []
    for document, text in enumerate(TEXTS):
        rows.append((document, START, 0, 0))
        for found in re.finditer(r" ?\S+", text):
            row = (document, found[0], *found.span())
            rows += [row, row] if FAMILY in found[0] else [row]
    return rows


ROWS = words()
PIECES = {" " + FAMILY: ("ð", "Ł")}
"""What the vocabulary holds for the halves of the emoji: pieces that are no text."""


def vocabulary() -> list[str]:
    texts = [piece for _, text, _, _ in ROWS for piece in PIECES.get(text, (text,))]
    return list(dict.fromkeys(texts))


def token_ids() -> NDArray[np.int64]:
    known, ids = vocabulary(), []
    for index, (_, text, _, _) in enumerate(ROWS):
        second = index > 0 and ROWS[index - 1] == ROWS[index]
        ids.append(known.index(PIECES[text][second] if text in PIECES else text))
    return np.array(ids)


def strengths() -> NDArray[np.float32]:
    """Shape (18, 6), exact in float16 and without ties."""
    text = [row[1].strip() for row in ROWS]
    dense = np.zeros((len(ROWS), N_FEATURES), np.float32)
    for row, word in enumerate(text):
        strength = 1 + row / 4
        dense[row, THE] = strength * (word == "the")
        dense[row, CAT] = 8 * strength * (word == "cat")
        dense[row, LONE] = strength * (word == "end")
        dense[row, WORDS] = strength * (word != START)
        dense[row, SPECIAL] = strength * (word == START)
    return dense


DENSE = strengths()
DOCUMENT_DENSE = np.array([[1, 0], [2, 0], [0, 4], [3, 5]], np.float32)


def table(name: str, rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), arrow_schema(name))


def write(lake: Lake, tables: dict[str, Sequence[dict[str, Any]]], key: str = "rows") -> None:
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


def summary(
    codes: str, mask: str, dense: NDArray[np.float32], kept: NDArray[np.bool_], ids: Any
) -> dict[str, list[dict[str, Any]]]:
    """Rows of the four feature tables, from the definitions in storage/fields.py."""
    found: dict[str, list[dict[str, Any]]] = {
        name: []
        for name in (
            "feature_statistics",
            "feature_histograms",
            "feature_examples",
            "feature_tokens",
        )
    }
    for feature in range(dense.shape[1]):
        key = {"codes": codes, "mask": mask, "feature": feature}
        column = np.where(kept, dense[:, feature], 0).astype(float)
        rows = np.flatnonzero(column)
        active, n_rows = column[rows], int(kept.sum())
        statistics: dict[str, Any] = {
            "n_rows": n_rows,
            "n_fires": len(rows),
            "density": len(rows) / n_rows,
            "mean_all": column.sum() / n_rows,
            "std_all": column[kept].std(),
            "run": "",
        }
        if len(rows):
            statistics |= {
                "mean_active": active.mean(),
                "std_active": active.std(),
                "min_active": active.min(),
                "max_active": active.max(),
                "q50_active": np.quantile(active, 0.5),
                "q90_active": np.quantile(active, 0.9),
                "q99_active": np.quantile(active, 0.99),
            }
        found["feature_statistics"].append(key | statistics)
        bins = np.ceil(np.log(active) / np.log(1.01 / 0.99)).astype(int)
        for one, count in zip(*np.unique(bins, return_counts=True), strict=True):
            found["feature_histograms"].append(key | {"bin": int(one), "count": int(count)})
        for rank, row in enumerate(rows[np.argsort(-active)][:KEPT], start=1):
            found["feature_examples"].append(
                key | {"kind": "top", "rank": rank, "row": int(row), "value": float(column[row])}
            )
        if ids is None:
            continue
        profile = []
        for token in np.unique(ids[rows]):
            here = ids[rows] == token
            lift = here.mean() / (ids[kept] == token).mean()
            profile.append((int(token), int(here.sum()), active[here].mean(), lift))
        for kind, column_of in (("count", 1), ("lift", 3)):
            best = sorted(profile, key=lambda one: (-one[column_of], one[0]))[:KEPT]
            found["feature_tokens"] += [
                key
                | {"kind": kind, "rank": rank}
                | dict(zip(("token_id", "count", "mean", "lift"), one, strict=True))
                for rank, one in enumerate(best, start=1)
            ]
    return found


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
    write(lake, merged, "summaries")
    return lake


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "lake"
    build(path).close()
    return path


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
