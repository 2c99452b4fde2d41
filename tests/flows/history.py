"""A lake of words, made without a model, in which every document says something of its own."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actlake import sql
from actlake.flows.encode import encode
from actlake.flows.summarize import summarize
from actlake.flows.train import train
from actlake.storage.corpora import Document, Span
from actlake.storage.fields import TABLES, arrow_schema
from actlake.storage.lake import Lake
from actlake.storage.rowset_writer import RowsetPlan, complete_columns, write_rowset

WORDS = "the of and to we our in that war peace".split()
WIDTH, DOCUMENTS = 8, 24
CORPUS, ROWSET, WHOLE, TENSOR, POOLED = "c", "c@w", "c@documents", "t", "p"
DICTIONARY, CODES = "d", "d@c"


def own_word(document: int) -> str:
    """A word that no other document, and nothing else, says."""
    return f"only{document:03}said"


def documents() -> list[Document]:
    random = np.random.default_rng(3)
    found = []
    for index in range(DOCUMENTS):
        words = [*random.choice(WORDS, 2 + index % 4), own_word(index)]
        note = f"label of {own_word(index)}"
        labels: dict[str, str | int | float | bool | None] = {"year": 1900 + index, "note": note}
        text = " ".join(random.permutation(words))
        at = text.index(own_word(index))
        span = Span(at, at + len(own_word(index)), own_word(index))
        found.append(Document(f"id{index}", text, labels, {"said": [span], "unsaid": []}))
    return found


def columns(texts: list[str], vocabulary: list[str]) -> dict[str, NDArray[Any]]:
    """A special token first, then one a word."""
    rows = []
    for document, text in enumerate(texts):
        rows.append((document, 0, 0, 0, True))
        start = 0
        for word in text.split(" "):
            token = vocabulary.index(word) if word in vocabulary else 1
            rows.append((document, token, start, start + len(word), False))
            start += len(word) + 1
    names = ("document", "token_id", "char_start", "char_stop", "is_special")
    return dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True))


def build(path: Path) -> Lake:
    """A new lake, filled."""
    return fill(Lake.create(path))


def fill(lake: Lake) -> Lake:
    """An empty lake with a corpus, two rowsets, two tensors, a dictionary, its codes and their
    summaries."""
    begin(lake)
    lengths = [len(one.text) for one in documents()]
    whole = {"document": np.arange(len(lengths)), "char_stop": np.array(lengths)}
    lake.create_rowset(WHOLE, corpus=CORPUS, columns=whole, kind="document")
    write_tensor(lake, TENSOR, ROWSET)
    write_tensor(lake, POOLED, WHOLE, dtype="int8")
    analyse(lake)
    suppose(lake)
    return lake


def begin(lake: Lake) -> Lake:
    """An empty lake with the corpus and the rowset of its words."""
    said = documents()
    lake.create_corpus(CORPUS, said)
    texts, vocabulary = [one.text for one in said], ["<s>", "<unknown>", *WORDS]
    with lake.run("test", {"rowset": ROWSET}, {}) as run:
        plan = RowsetPlan(
            name=ROWSET,
            corpus=CORPUS,
            corpus_fingerprint=lake.corpus_fingerprint(CORPUS),
            kind="token",
            tokenizer="words",
            tokenizer_fingerprint="known",
            windowing="document",
            window=64,
            overlap=0,
        )
        write_rowset(run, plan, [complete_columns(columns(texts, vocabulary))], vocabulary)
    return lake


def suppose(lake: Lake) -> None:
    """A hypothesis that quotes a document, with the document and another as its exemplars."""
    key = {"target": "year", "level": "", "codes": CODES, "feature": 1}
    word = own_word(5)
    with lake.run("test", {"hypothesis": 1}, {}) as run:
        facts: dict[str, Any] = key | {"run": run.run, "mask": "all", "pooling": "max", "n": 3}
        facts |= {"selected_by": "correlation", "split": "holdout", "n_groups": 2, "n_tests": 1}
        statement = f"year is higher in documents with feature 1, which say “{word}”, “war”"
        phrase = {"run": run.run, "rank": 1, "phrase": word, "firing": 1, "silent": 0, "z": 1.0}
        shown = [{"run": run.run, "rank": n, "document": 4 + n, "value": 1.0} for n in (1, 2)]
        tables = {
            "hypotheses": [facts | {"look": 1, "statement": statement}],
            "hypothesis_phrases": [key | phrase],
            "hypothesis_exemplars": [key | one for one in shown],
        }
        run.append(
            {name: pa.Table.from_pylist(rows, arrow_schema(name)) for name, rows in tables.items()},
            "a hypothesis",
        )


def write_tensor(
    lake: Lake, name: str, rowset: str, *, seed: int = 0, dtype: str = "float16"
) -> None:
    random = np.random.default_rng(seed)
    rows = lake.rowset(rowset).rows
    with lake.create_tensor(
        name, rowset=rowset, width=WIDTH, dtype=dtype, provenance={"seed": seed}
    ) as tensor:
        tensor.append(random.normal(size=(rows, WIDTH)).astype(np.float32))


def analyse(lake: Lake, *, k: int = 3) -> None:
    """The dictionary of the tensor's own axes, its codes, and their statistics."""
    train(lake, tensor=TENSOR, method="identity", k=k, dictionary=DICTIONARY, baselines=False)
    encode(lake, dictionary=DICTIONARY, codes=CODES)
    summarize(lake, codes=CODES)


ASKED: dict[str, Any] = {
    **{"mask": "all", "label": "year", "level": "token", "token_set": "digits", "run": "none"},
    **{"tensor": TENSOR, "others": CODES, "target": "year", "text": "war", "value": "1905"},
    **{"kind": "top", "by": "density", "order": "desc", "feature": 1, "other": 4, "document": 5},
    **{"method": "activation", "score": 0.3, "a": "1905", "b": "1910", "least": 0.1},
    **{"limit": 5, "q": 0.5, "before": 2, "after": 2, "first": 0, "last": 10_000},
}
"""What queries are asked with, beside the codes."""
OF_RUNS = {"runs_and_schedules", "changes_between", "run_log"}
"""Queries, and a view, about what was run, upkeep too."""


def _rows_of_query(lake: Lake, query: str, asked: dict[str, Any]) -> object:
    taken = re.findall(r"\$([a-z_]+)", sql.text("queries", query).split("\n", 3)[3])
    given = {name: asked[name] for name in taken}
    if query == "features_of_document":
        given["by"] = "max"
    return [*lake.query(query, **given).rows()]


def answers(lake: Lake, *, asked: bool = True) -> dict[str, str]:
    """Everything that a lake says of its data: tables, readers and contexts.

    asked
        Also what the named queries and views make of them, which takes most of the time.
    """
    said: dict[str, Any] = {}
    names = {row[0] for row in lake.sql("SHOW TABLES").rows()}
    for table in TABLES:
        if table in names and table not in ("runs", "migrations"):
            said[table] = sorted(map(repr, lake.table(table).collect().iter_rows()))
    for (name,) in lake.sql("SELECT tensor FROM tensors").rows():
        tensor = lake.tensor(str(name))
        said[f"tensor {name}"] = tensor[:].tobytes()
        said[f"batches {name}"] = [one.tobytes() for one in tensor.batches(16, seed=1)]
        said[f"gather {name}"] = tensor.rows(np.array([5, 0, 5])).tobytes()
    for (name,) in lake.sql("SELECT codes FROM codes WHERE state = 'sealed'").rows():
        codes = lake.codes(str(name))
        block = codes[:]
        said[f"codes {name}"] = [*map(repr, (block.indptr, block.indices, block.values))]
        said[f"scan {name}"] = codes.scan().collect().rows()
        for feature in (1, 4):
            said[f"postings {name} {feature}"] = codes.postings(feature).rows()
            said[f"contexts {name} {feature}"] = lake.contexts(str(name), feature, limit=3)
        for query in set(sql.names("queries")) - OF_RUNS if asked else ():
            said[f"{query} {name}"] = _rows_of_query(lake, query, {**ASKED, "codes": name})
    for (name,) in lake.sql("SELECT rowset FROM rowsets").rows():
        rowset = lake.rowset(str(name))
        for column in ("document", "token_id", "char_stop"):
            said[f"{name} {column}"] = rowset.column(column).tolist()
    for view in set(sql.names("views")) - OF_RUNS if asked else ():
        said[view] = [*lake.sql(f"SELECT * FROM {view} ORDER BY ALL").rows()]
    return {name: repr(value) for name, value in said.items()}
