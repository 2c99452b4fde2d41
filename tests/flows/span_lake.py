"""A lake whose features are planted on spans of characters. Words differ in length and alphabet.

A test module that imports ``shared_span_lake`` has it as the fixture ``span_lake``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from actlake.flows.summarize_labels import summarize_labels
from actlake.storage import Document, Lake, Span
from actlake.storage.codes_writer import CodesPlan
from actlake.storage.dictionary_files import write_dictionary
from tests.shared import made_once
from tests.sql.conftest import encode

CORPUS, DICTIONARY, MASK, FEATURES, WORDS = "spans", "topk:toy:resid", "no_special", 9, 60
CODES = f"{DICTIONARY}@{CORPUS}"
DOCUMENTS, LOOKED_AT = 400, 300
"""The last hundred say nothing of ``entity``; of the first, each tenth says that it has none."""
RARE, COMMON, CHANCE, BURSTY, PARTLY, KNOWN, IN_ONE, DEAD, SPECIAL = range(FEATURES)
"""Features: fires exactly on the rows of one value, of another; at random; in few documents, often;
on half of the rows of a value and some others; on 0.9 of known rows and 0.1 of others in every
domain; in one domain, and on 0.1 in all others; never; on special rows."""
DENSITY = 0.3
"""Of ``CHANCE``."""
VALUES = ("person", "place", "rare")
DOMAINS = ("city", "movie", "player", "song")
LETTERS = np.array([*"aβc日🙂e"])


@dataclass(frozen=True)
class Planted:
    """The documents, the characters of each row, and the values of each feature."""

    documents: list[Document]
    document: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    is_special: NDArray[np.bool_]
    values: NDArray[np.float32]

    def has(self, label: str, value: str) -> NDArray[np.bool_]:
        """Whether a row has the value, character by character."""
        reached = []
        for one in self.documents:
            spans = [span for span in one.spans.get(label, ()) if span.value == value]
            reached.append({at for span in spans for at in range(span.start, span.stop)})
        rows = zip(self.document, self.start, self.stop, strict=True)
        return np.array([any(at in reached[d] for at in range(a, b)) for d, a, b in rows])

    def looked_at(self, label: str) -> NDArray[np.bool_]:
        """Whether the document of a row says which spans it has, special rows left out."""
        says = np.array([label in one.spans for one in self.documents])
        return says[self.document] & ~self.is_special


@cache
def planted() -> Planted:
    rng = np.random.default_rng(7)
    documents, columns = [], []
    for number in range(DOCUMENTS):
        words = ["".join(rng.choice(LETTERS, rng.integers(1, 9))) for _ in range(WORDS)]
        ends = np.cumsum([len(word) + 1 for word in words]) - 1
        edges = [(int(end) - len(word), int(end)) for word, end in zip(words, ends, strict=True)]
        labels = {"domain": DOMAINS[number % 4]}
        text = " ".join(words)
        documents.append(Document(f"d{number}", text, labels, _spans(rng, number, edges)))
        # A tokenizer might give a special token characters: it has no label all the same.
        columns += [(number, *edges[0], True), *((number, *edge, False) for edge in edges)]
    document, start, stop, special = (np.array(one) for one in zip(*columns, strict=True))
    rows = Planted(documents, document, start, stop, special, np.zeros((0, 0), np.float32))
    return Planted(documents, document, start, stop, special, _values(rng, rows))


def _spans(
    rng: np.random.Generator, number: int, edges: Sequence[tuple[int, int]]
) -> dict[str, list[Span]]:
    def span(first: int, words: int, value: str) -> Span:
        return Span(edges[first][0], edges[first + words - 1][1], value)

    def at(least: int, most: int) -> int:
        return int(rng.integers(least, most))

    known = [
        span(one, 1, "yes" if n < 2 else "no") for n, one in enumerate(rng.permutation(60)[:6])
    ]
    found = {"known": known}
    if number < LOOKED_AT:
        found["entity"] = []
        if number % 10:
            of_three = span(at(0, 20), 3, "person")
            of_one = span(at(22, 40), 1, "person")
            cut = Span(of_one.start, of_one.start + 1, "person")  # which reaches the whole row
            inside = Span(of_three.start + 1, of_three.stop, "place")  # a place in a person's name
            found["entity"] = [of_three, cut, inside, span(at(41, 50), 2, "place")]
            if number % 5 == 1:
                found["entity"].append(span(at(52, 60), 1, "rare"))
    return found


def _values(rng: np.random.Generator, rows: Planted) -> NDArray[np.float32]:
    shape = (len(rows.document), FEATURES)
    fires = np.zeros(shape, np.bool_)
    unknown = ~rows.looked_at("entity") & (rng.random(shape[0]) < 0.5)
    person, known = rows.has("entity", "person"), rows.has("known", "yes")
    domain = rows.document % 4
    fires[:, RARE] = (
        rows.has("entity", "rare") | unknown
    )  # what nobody looked at counts for nothing
    fires[:, COMMON] = person | unknown
    fires[:, CHANCE] = rng.random(shape[0]) < DENSITY
    fires[:, BURSTY] = (rng.random(DOCUMENTS) < 0.03)[rows.document] & (rng.random(shape[0]) < 0.8)
    fires[:, PARTLY] = (person & (rng.random(shape[0]) < 0.5)) | (rng.random(shape[0]) < 0.02)
    fires[:, KNOWN] = rng.random(shape[0]) < np.where(known, 0.9, 0.1)
    fires[:, IN_ONE] = rng.random(shape[0]) < np.where(known & (domain == 2), 0.9, 0.1)
    fires[rows.is_special, :DEAD] = rng.random((DOCUMENTS, DEAD)) < 0.5
    fires[:, SPECIAL] = rows.is_special
    found = np.where(fires, rng.lognormal(0, 0.5, shape), 0).astype(np.float16)
    return found.astype(np.float32)


@pytest.fixture(name="span_lake", scope="session")
def shared_span_lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The lake of this session with its scores; copy it before writing."""
    return Lake.open(made_once(tmp_path_factory, "span-lake", _build))


def _build(path: Path) -> None:
    lake, rows = Lake.create(path), planted()
    lake.create_corpus(CORPUS, rows.documents)
    columns = {
        "document": rows.document,
        "token_id": np.where(rows.is_special, 0, 1),
        "char_start": rows.start,
        "char_stop": rows.stop,
        "is_special": rows.is_special,
    }
    rowset = lake.create_rowset(
        f"{CORPUS}@words", corpus=CORPUS, columns=columns, tokenizer="words"
    )
    name = f"toy:resid@{CORPUS}"
    with lake.create_tensor(name, rowset=rowset.name, width=FEATURES, model="toy") as tensor:
        tensor.append(rows.values)
    with lake.run("test", {"codes": CODES}, {}) as run:
        write_dictionary(
            run,
            name=DICTIONARY,
            method="topk",
            tensor=name,
            n_features=FEATURES,
            width=FEATURES,
            config={"k": FEATURES},
            arrays={"W_dec": np.eye(FEATURES, dtype=np.float32)},
            fingerprint="known",
            tables={},
        )
        plan = CodesPlan(
            name=CODES,
            dictionary=DICTIONARY,
            dictionary_fingerprint="known",
            n_features=FEATURES,
            tensor=name,
            tensor_fingerprint="known",
            rowset=rowset,
            dtype="float16",
        )
        encode(run, lake, plan, rows.values)
    summarize_labels(lake, codes=CODES, label="entity")
    summarize_labels(lake, codes=CODES, label="entity", mask="all")
    summarize_labels(lake, codes=CODES, label="known", subset_by="domain")
    lake.close()
