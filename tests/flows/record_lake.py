"""A lake whose pairs, families, labels and changes are planted: two corpora, one dictionary.

Documents have ``WORDS`` rows and a special one before them. A test module that imports
``shared_record_lake`` has it as the fixture ``record_lake``.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from actlake.flows.diff_corpora import diff_corpora
from actlake.flows.summarize import summarize
from actlake.flows.summarize_labels import summarize_labels
from actlake.flows.summarize_pairs import summarize_pairs
from actlake.storage import Document, Lake, Rowset
from actlake.storage.codes_writer import CodesPlan
from actlake.storage.dictionary_files import write_dictionary
from actlake.storage.run import Run
from actlake.storage.tensor_writer import (
    TensorPlan,
    commit_shards,
    plan_tensors,
    publish_shard,
    seal,
)
from tests.shared import made_once
from tests.sql.conftest import encode

NOW, THEN = "now", "then"
RECORDS = ("feature_pairs", "feature_families", "feature_labels", "feature_changes")
DICTIONARY, FEATURES, WORDS = "topk:toy:resid", 16, 20
MASK = "no_special"
PARENT, CHILDREN, TWINS = 0, (1, 2, 3), (4, 5)
EVERYWHERE, IN_ONE, CHANGED, BURSTY, DEAD = 6, 7, 8, 9, 15
"""Features: fires in documents of side x; of side x and party A only; more often in ``then``; in
few documents, often; never. Those between fire at random."""
IN_PARTY, CROSSED = 11, 12
"""Fires in documents of party A; of x and A, or of y and B, so only both together tell the side."""
DOCUMENTS = {NOW: 60, THEN: 50}


def codes_of(corpus: str) -> str:
    return f"{DICTIONARY}@{corpus}"


CODES = codes_of(NOW)


def party(document: int) -> str:
    return "AB"[document // 2 % 2]


def side(document: int) -> str:
    return "xy"[document % 2]


@pytest.fixture(name="record_lake", scope="session")
def shared_record_lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The lake of this session with its records; copy it before writing."""
    return Lake.open(made_once(tmp_path_factory, "record-lake", _build))


def _build(path: Path) -> None:
    lake = Lake.create(path)
    for corpus, documents in DOCUMENTS.items():
        _fill(lake, corpus, documents)
    lake.create_mask("never", "position < 0")
    record(lake)
    lake.close()


def record(lake: Lake) -> None:
    """The records of the lake, where they are not there."""
    now = codes_of(NOW)
    summarize_pairs(lake, codes=now, min_fires=10, with_redundancy=True)
    summarize_pairs(lake, codes=now, min_fires=10, level="document", top=3)
    summarize_labels(lake, codes=now, label="side", subset_by="party")
    summarize_labels(lake, codes=now, label="side", level="token")
    diff_corpora(lake, a=now, b=codes_of(THEN))
    summarize(lake, codes=[now, codes_of(THEN)], name="both", mask=MASK, examples=2, tokens=2)


def _fill(lake: Lake, corpus: str, documents: int) -> None:
    lake.create_corpus(corpus, _documents(documents))
    rows = documents * (WORDS + 1)
    first = np.arange(rows) % (WORDS + 1) == 0
    columns = {
        "document": np.arange(rows) // (WORDS + 1),
        "token_id": np.where(first, 0, 1),
        "char_start": np.zeros(rows, int),
        "char_stop": np.where(first, 0, 1),
        "is_special": first,
    }
    rowset, tensor = f"{corpus}@words", f"toy:resid@{corpus}"
    lake.create_rowset(rowset, corpus=corpus, columns=columns, tokenizer="words")
    x = planted(corpus)
    with lake.run("test", {"codes": corpus}, {}) as run:  # one for all: each costs more commits
        _create_tensor(run, lake.rowset(rowset), tensor, x)
        if corpus == NOW:
            write_dictionary(
                run,
                name=DICTIONARY,
                method="topk",
                tensor=tensor,
                n_features=FEATURES,
                width=FEATURES,
                config={"k": FEATURES},
                arrays={"W_dec": directions()},
                fingerprint="known",
                tables={},
            )
        plan = CodesPlan(
            name=codes_of(corpus),
            dictionary=DICTIONARY,
            dictionary_fingerprint="known",
            n_features=FEATURES,
            tensor=tensor,
            tensor_fingerprint="known",
            rowset=lake.rowset(rowset),
            dtype="float16",
        )
        encode(run, lake, plan, x)


def _create_tensor(run: Run, rowset: Rowset, name: str, x: NDArray[np.float32]) -> None:
    plan = TensorPlan(
        name=name,
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
    spans = enumerate(rowset.grid.span(shard) for shard in range(len(rowset.grid)))
    receipts = [
        receipt
        for shard, (start, stop) in spans
        for receipt in publish_shard(run, plan, ids[name], shard, x[start:stop])
    ]
    commit_shards(run, receipts, "every shard")
    seal(run, [plan], ids)


def directions() -> NDArray[np.float32]:
    """Decoder rows: the twins at 60 degrees, all others at right angles."""
    found = np.eye(FEATURES, dtype=np.float32)
    found[TWINS[1], [TWINS[0], TWINS[1]]] = 0.5, np.sqrt(0.75)
    return 3 * found


def _documents(count: int) -> Iterator[Document]:
    for one in range(count):
        labels: dict[str, str | int | float | bool | None] = {
            "side": side(one),
            "party": party(one),
            "same": "always",
            "number": float(one),
            "half": "yes" if one % 3 == 0 else None,
        }
        yield Document(f"d{one}", "word " * WORDS, labels)


def planted(corpus: str) -> NDArray[np.float32]:
    """Values of every row, as float16 holds them; special rows fire like others."""
    documents, rng = DOCUMENTS[corpus], np.random.default_rng(len(corpus))
    shape = (documents, WORDS + 1)
    fires = rng.random((*shape, FEATURES)) < np.geomspace(0.3, 0.03, FEATURES)
    parent = rng.random(shape) < 0.15
    which = rng.integers(0, len(CHILDREN), shape)
    fires[..., PARENT] = parent
    for number, child in enumerate(CHILDREN):
        fires[..., child] = parent & (which == number)
    fires[..., TWINS[1]] = fires[..., TWINS[0]]
    x = np.array([side(one) == "x" for one in range(documents)])
    in_a = np.array([party(one) == "A" for one in range(documents)])
    once = np.arange(WORDS + 1) == rng.integers(1, WORDS + 1, documents)[:, None]
    fires[..., EVERYWHERE] = once & x[:, None]
    by_chance = rng.random(documents) < 0.5
    fires[..., IN_ONE] = once & np.where(in_a, x, by_chance)[:, None]
    fires[..., CHANGED] = rng.random(shape) < (0.1 if corpus == NOW else 0.3)
    fires[..., BURSTY] = (rng.random(documents) < 0.2)[:, None] & (rng.random(shape) < 0.5)
    fires[..., IN_PARTY] = once & in_a[:, None]
    fires[..., CROSSED] = once & (x == in_a)[:, None]
    fires[..., DEAD] = False
    values = rng.lognormal(0, 0.5, fires.shape)
    values[..., TWINS[1]] = 2 * values[..., TWINS[0]]
    found = np.where(fires, values, 0).astype(np.float16).reshape(-1, FEATURES)
    return found.astype(np.float32)


def by_row(corpus: str = NOW) -> NDArray[np.float64]:
    """Values under the mask, shape (documents, WORDS, features)."""
    x = planted(corpus).astype(float).reshape(DOCUMENTS[corpus], WORDS + 1, FEATURES)
    return x[:, 1:]


def units(level: str) -> NDArray[np.float64]:
    """The units of a level, shape (units, features); documents by their largest values."""
    return by_row().max(axis=1) if level == "document" else by_row().reshape(-1, FEATURES)


def rows(lake: Lake, table: str, **where: Any) -> pl.DataFrame:
    """Rows of a table or view in which columns hold ``where``."""
    return lake.table(table).filter(**where).collect()


def ask(lake: Lake, query: str, **parameters: Any) -> pl.DataFrame:
    return lake.query(query, **parameters).pl()


def contents(lake: Lake) -> dict[str, list[str]]:
    """Every row of the tables of records, without the runs that wrote them."""
    tables = {name: lake.table(name).collect().drop("run") for name in RECORDS}
    return {name: sorted(map(str, table.iter_rows())) for name, table in tables.items()}
