"""A corpus cut by two toy tokenizers, with features that both sides share and others of one side.

One side has words as tokens, with the space before them; the other has pairs of characters, which
reach over words. A shared feature fires wherever one of its words stands, on each side's tokens.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actlake.flows.encode import encode
from actlake.flows.train import train
from actlake.storage import Document, Lake

SHARED, ALONE = 24, 12
"""Features that both sides have, and features that each has for itself."""
FEATURES = SHARED + ALONE
DOCUMENTS, WORDS = 60, 60
A, B, TENSOR_A, TENSOR_B = "a-codes", "b-codes", "a-rows", "b-rows"
LONGEST = 8


def partner_of() -> NDArray[np.int64]:
    """The feature of B that each shared feature of A is."""
    return np.random.default_rng(3).permutation(FEATURES)[:SHARED]


def build_planted_pair(path: Path) -> Lake:
    """A new lake with the corpus ``planted``, two rowsets over it, and codes on each."""
    lake = Lake.create(path)
    rng = np.random.default_rng(5)
    vocabulary = [
        "".join(rng.choice(list("abcdefghij"), rng.integers(2, LONGEST))) for _ in range(90)
    ]
    texts = [" ".join(rng.choice(vocabulary, WORDS)) for _ in range(DOCUMENTS)]
    documents = [
        Document(f"d{i}", text, {"side": "left" if i % 2 else "right", "group": f"g{i // 5}"})
        for i, text in enumerate(texts)
    ]
    lake.create_corpus("planted", documents)
    owner = {word: index % (SHARED + 6) for index, word in enumerate(vocabulary)}
    for side, cut in (("a", words), ("b", pairs)):
        spans = [(d, start, stop) for d, text in enumerate(texts) for start, stop in cut(text)]
        document, start, stop = (np.array(column) for column in zip(*spans, strict=True))
        lake.create_rowset(
            f"planted@{side}",
            corpus="planted",
            columns={"document": document, "char_start": start, "char_stop": stop},
            tokenizer=side,
        )
        signal = np.zeros((len(document), FEATURES), np.float32)
        numbers = np.arange(SHARED) if side == "a" else partner_of()
        for row, (d, low, high) in enumerate(spans):
            for word_start, word_stop in words(texts[d]):
                inside = low < word_stop and word_start < high
                owned = owner[texts[d][word_start:word_stop].strip()]
                if inside and owned < SHARED:
                    signal[row, numbers[owned]] = rng.lognormal(1, 0.2)
        lone = np.setdiff1d(np.arange(FEATURES), numbers)
        signal[:, lone] = rng.lognormal(1, 0.2, (len(spans), ALONE)) * (
            rng.random((len(spans), ALONE)) < 0.05
        )
        with lake.create_tensor(
            f"{side}-rows", rowset=f"planted@{side}", width=FEATURES, dtype="float32"
        ) as writer:
            writer.append(signal)
        dictionary = train(
            lake,
            tensor=f"{side}-rows",
            method="identity",
            k=FEATURES,
            dictionary=f"{side}-identity",
            baselines=False,
        )
        encode(lake, dictionary=dictionary, codes=f"{side}-codes")
    return lake


def words(text: str) -> list[tuple[int, int]]:
    """Each word with the space before it."""
    edges = [0, *(index for index, character in enumerate(text) if character == " "), len(text)]
    return list(pairwise(edges))


def pairs(text: str) -> list[tuple[int, int]]:
    """Two characters at a time; spaces are in no token, as with many tokenizers."""
    spans = []
    for start, stop in words(text):
        first = start + (text[start] == " ")
        spans += [(at, min(at + 2, stop)) for at in range(first, stop, 2)]
    return spans
