"""Three corpora and the one that they make together, all encoded with one dictionary.

``WHOLE`` has the documents of ``PARTS`` one after the other, so what is said of its codes is what
must be said of the set of theirs. A test module that imports ``shared_set_lake`` has the lake as
the fixture ``set_lake``, and with ``copied_set_lake`` a copy as ``lake``.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from actlake.storage import Document, Lake, Span
from actlake.storage.codes_writer import CodesPlan
from actlake.storage.dictionary_files import write_dictionary
from actlake.storage.rowset_writer import RowsetPlan, complete_columns, write_rowset
from tests.shared import made_once
from tests.sql.conftest import encode

DICTIONARY, FEATURES, DEAD = "topk:toy:resid", 12, 11
PARTS, WHOLE = ("first", "second", "third"), "together"
DOCUMENTS = {"first": 23, "second": 9, "third": 31}
AUTHORS = {"first": "zoe amy".split(), "second": ["bob"], "third": "amy carl bob".split()}
WORDS = "<s> the of and to we our in that war peace law free".split()
ABOUT = {"war": "strife", "peace": "calm", "law": "calm"}
"""Words, and what spans of the label ``about`` say of them."""
REPEATED = 6
"""Of the documents of each corpus every sixth has one text, so contexts come in all of them."""
EXAMPLES, TOKENS, MASK = 5, 4, "no_special"
OPTIONS: dict[str, Any] = {"examples": EXAMPLES, "tokens": TOKENS, "mask": MASK}
TABLES = {
    "feature_statistics": ["feature"],
    "feature_profiles": ["feature"],
    "feature_histograms": ["feature", "bin"],
    "feature_positions": ["feature", "position_start"],
    "feature_tokens": ["feature", "kind", "rank"],
}
"""Of statistics, and what names a row of one feature or more."""


def codes_of(corpus: str) -> str:
    return f"{DICTIONARY}@{corpus}"


OTHER, OTHERS = "other:toy:resid", "others@first"
"""Another dictionary, and its codes of the first corpus."""
SET = [codes_of(part) for part in PARTS]


@pytest.fixture(name="set_lake", scope="session")
def shared_set_lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The lake of this session, of which nothing is summarized; copy it before writing."""
    return Lake.open(made_once(tmp_path_factory, "set-lake", _build))


def tokens(corpus: str) -> list[list[int]]:
    """The tokens of each document behind its special one; from 1 to 40."""
    if corpus == WHOLE:
        return [document for part in PARTS for document in tokens(part)]
    rng, same = np.random.default_rng(_seed(corpus)), [3, 4, 5, 9, 5, 4, 3, 9]
    lengths = rng.integers(1, 41, DOCUMENTS.get(corpus, 4))
    found = [rng.integers(1, len(WORDS), length).tolist() for length in lengths]
    return [same if at % REPEATED == 0 else one for at, one in enumerate(found)]


def _seed(corpus: str) -> int:
    return sum(map(ord, corpus))


def planted(corpus: str) -> NDArray[np.float32]:
    """Values of every row as float16 holds them, shape (rows, FEATURES): on a word of its own each
    of the first features, the others at random, three of them where another fires, a family;
    few of them, so that values come twice."""
    if corpus == WHOLE:
        return np.concatenate([planted(part) for part in PARTS])
    token = np.concatenate([[0, *document] for document in tokens(corpus)])
    rng = np.random.default_rng(100 + _seed(corpus))
    fires = rng.random((len(token), FEATURES)) < np.geomspace(0.5, 0.01, FEATURES)
    fires[:, :4] = token[:, None] == np.arange(4)
    fires[:, DEAD] = False
    some = np.random.default_rng(200 + _seed(corpus)).random((len(token), 3)) < (0.6, 0.5, 0.4)
    fires[:, 6:9] = fires[:, 5:6] & some
    values = np.round(rng.lognormal(0, 1, fires.shape) + 0.5, 1)
    return np.where(fires, values, 0).astype(np.float16).astype(np.float32)


def add(
    lake: Lake,
    corpus: str,
    tokenizer: str = "words",
    name: str | None = None,
    spans: Mapping[str, Sequence[Span]] | None = None,
) -> str:
    """A corpus with its rows, tensor and codes, which have the name that comes back; ``spans`` are
    those of every document, in place of its own."""
    said = tokens(corpus)
    documents = _documents(corpus, said)
    if spans is not None:
        documents = (replace(one, spans=spans) for one in documents)
    lake.create_corpus(corpus, [*documents])
    with lake.run("test", {"corpus": corpus}, {}) as run:
        plan = RowsetPlan(
            name=f"{corpus}@{tokenizer}",
            corpus=corpus,
            corpus_fingerprint=lake.corpus_fingerprint(corpus),
            kind="token",
            tokenizer=tokenizer,
            tokenizer_fingerprint=tokenizer,
            windowing="document",
            window=64,
            overlap=0,
        )
        write_rowset(run, plan, [complete_columns(_columns(said))], WORDS)
    tensor = f"toy:resid@{corpus}"
    with lake.create_tensor(tensor, rowset=plan.name, width=FEATURES, dtype="float32") as writer:
        writer.append(planted(corpus))
    return encoded(lake, corpus, DICTIONARY, name or codes_of(corpus))


def encoded(
    lake: Lake, corpus: str, dictionary: str, name: str, *, tensor: str | None = None
) -> str:
    """Codes of a corpus that has its tensor; of another ``tensor`` its own rows."""
    x = planted(corpus) if tensor is None else lake.tensor(tensor)[:]
    tensor = tensor or f"toy:resid@{corpus}"
    with lake.run("test", {"codes": name}, {}) as run:
        if not lake.sql("SELECT 1 FROM dictionaries WHERE dictionary = $d", d=dictionary).rows():
            write_dictionary(
                run,
                name=dictionary,
                method="topk",
                tensor=tensor,
                n_features=FEATURES,
                width=FEATURES,
                config={"k": FEATURES},
                arrays={"W_dec": np.eye(FEATURES, dtype=np.float32)},
                fingerprint=dictionary,
                tables={},
            )
        plan = CodesPlan(
            name=name,
            dictionary=dictionary,
            dictionary_fingerprint=dictionary,
            n_features=FEATURES,
            tensor=tensor,
            tensor_fingerprint=corpus,
            rowset=lake.tensor(tensor).rowset,
            dtype="float16",
        )
        encode(run, lake, plan, x)
    return name


def _build(path: Path) -> None:
    lake = Lake.create(path)
    for corpus in (*PARTS, WHOLE):
        add(lake, corpus)
    encoded(lake, PARTS[0], OTHER, OTHERS)
    lake.close()


def _documents(corpus: str, said: list[list[int]]) -> Iterator[Document]:
    authors = [
        author
        for part in (PARTS if corpus == WHOLE else [corpus])
        for author in _authors(part, DOCUMENTS.get(part, 4))
    ]
    for at, document in enumerate(said):
        text = " ".join(WORDS[one] for one in document)
        labels = {"author": authors[at], "length": "long" if len(document) > 20 else "short"}
        spans = {} if len(document) % 5 == 2 else {"about": [*_spans(document)]}
        yield Document(f"{corpus}-{at}", text, labels, spans)


def _spans(document: list[int]) -> Iterator[Span]:
    """Where the words of ``ABOUT`` stand."""
    start = 0
    for word in (WORDS[token] for token in document):
        if word in ABOUT:
            yield Span(start, start + len(word), ABOUT[word])
        start += len(word) + 1


def _authors(part: str, documents: int) -> list[str | None]:
    """The first document is alone with its author, whom a withdrawal takes along."""
    known = AUTHORS.get(part, ["amy"])
    rest = [None if at % 7 == 3 else known[at % len(known)] for at in range(1, documents)]
    return [f"a{part}", *rest]


def _columns(said: list[list[int]]) -> dict[str, NDArray[np.int64]]:
    rows: list[tuple[int, int, int, int, bool]] = []
    for at, document in enumerate(said):
        rows.append((at, 0, 0, 0, True))
        start = 0
        for token in document:
            rows.append((at, token, start, start + len(WORDS[token]), False))
            start += len(WORDS[token]) + 1
    names = ("document", "token_id", "char_start", "char_stop", "is_special")
    return dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True))


@pytest.fixture(name="lake")
def copied_set_lake(set_lake: Lake, tmp_path: Path) -> Iterator[Lake]:
    """A copy of it, to write into."""
    copied = Lake.open(shutil.copytree(set_lake.root, tmp_path / "lake"))
    yield copied
    copied.close()


def rows(lake: Lake, table: str, codes: str, mask: str = MASK) -> pl.DataFrame:
    return lake.table(table).filter(codes=codes, mask=mask).collect().drop("codes")


def require_alike(lake: Lake, one: str, other: str, mask: str = MASK) -> None:
    """Every number of the tables of ``one`` is that of ``other``, whole ones to the last bit."""
    for table, key in TABLES.items():
        found, right = (rows(lake, table, name, mask).sort(key) for name in (one, other))
        assert len(found) == len(right) > 0
        for name in set(found.columns) - {"run"}:
            mine, theirs = found[name], right[name]
            assert mine.is_null().to_list() == theirs.is_null().to_list(), (table, name)
            if mine.dtype.is_float():
                close = np.isclose(mine.fill_null(0), theirs.fill_null(0), rtol=1e-9, atol=1e-9)
                assert close.all(), (table, name)
            else:
                assert mine.to_list() == theirs.to_list(), (table, name)
