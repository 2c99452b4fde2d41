"""The whole of it on a planted corpus: two toy tokenizers, shared features, nothing else alike."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.similarity.alignment import Coverage, Spans, Units, align
from actlake.analytics.similarity.matching import match_features
from actlake.analytics.similarity.pooling import pool_max, stack
from actlake.storage.csr import Csr, csr_from_dense

SHARED, OWN, DOCUMENTS = 60, 40, 60


def pieces(text: str) -> list[tuple[int, int]]:
    """Spans of pairs of characters, across spaces too, after a special token."""
    return [(0, 0)] + [(i, min(i + 2, len(text))) for i in range(0, len(text), 2)]


def words(text: str) -> list[tuple[int, int]]:
    """Spans of words, each with the space before it."""
    starts = [0] + [i for i, character in enumerate(text) if character == " "]
    return list(zip(starts, [*starts[1:], len(text)], strict=True))


@dataclass(frozen=True, slots=True)
class Corpus:
    texts: list[str]
    concept: list[NDArray[np.float64]]
    """Of each document, how strongly each shared feature is there, shape (words, SHARED)."""


def corpus(rng: np.random.Generator) -> Corpus:
    letters = np.array(list("abcdefghijklmnop"))
    vocabulary = ["".join(rng.choice(letters, rng.integers(1, 9))) for _ in range(400)]
    texts, concepts = [], []
    for _ in range(DOCUMENTS):
        length = rng.integers(120, 240)
        texts.append(" ".join(rng.choice(vocabulary, length)))
        rate = 0.03 * rng.gamma(0.5, 2, SHARED)
        concepts.append(
            rng.lognormal(0, 1, (length, SHARED)) * (rng.random((length, SHARED)) < rate)
        )
    return Corpus(texts, concepts)


def side(
    rng: np.random.Generator, texts: list[str], concept: list[NDArray[np.float64]], cut: bool
) -> tuple[Spans, Csr]:
    """One model: tokens, and codes in which a concept is on one token of its word, with noise."""
    rows, codes = [], []
    for document, text in enumerate(texts):
        spans = pieces(text) if cut else words(text)
        rows += [(document, *span) for span in spans]
        dense = np.zeros((len(spans), SHARED + OWN))
        starts = np.array([start for start, _ in spans])
        for (start, stop), strength in zip(words(text), concept[document], strict=True):
            inside = np.flatnonzero((starts >= start) & (starts < stop) & (starts < len(text)))
            inside = inside[inside > 0] if cut else inside
            if len(inside):
                dense[rng.choice(inside), :SHARED] = strength
        noise = rng.lognormal(0, 0.3, dense.shape)
        own = 0.02 * rng.gamma(0.5, 2, OWN)
        dense[:, SHARED:] = rng.random((len(spans), OWN)) < own
        codes.append(csr_from_dense(dense * noise))
    document, start, stop = np.array(rows).T
    return Spans(document, start, stop, np.ones(len(rows), np.bool_)), stack(codes)


def shuffled(rng: np.random.Generator, codes: Csr) -> tuple[Csr, NDArray[np.int64]]:
    """Features in another order, and where each went."""
    order = rng.permutation(codes.n_features)
    return csr_from_dense(codes.dense()[:, order]), np.argsort(order)


def test_shared_features__of_two_tokenizers_are_found() -> None:
    rng = np.random.default_rng(0)
    text = corpus(rng)
    tokens_a, codes_a = side(rng, text.texts, text.concept, cut=True)
    tokens_b, codes_b = side(rng, text.texts, text.concept, cut=False)
    codes_b, where = shuffled(rng, codes_b)

    units: Units = align(tokens_a, tokens_b)
    a = pool_max(codes_a, units.unit_a, units.count)
    b = pool_max(codes_b, units.unit_b, units.count)
    found = match_features(a, b, units.document)

    share = Coverage.of(tokens_a, tokens_b, units, text_chars=sum(map(len, text.texts))).finish()
    assert share["text"] == share["tokens_b"] == 1
    assert share["tokens_a"] == 1 - DOCUMENTS / len(tokens_a.keep)  # the special tokens
    # A pair of characters that reaches over the edge of two words joins them.
    assert 0.3 * len(tokens_b.keep) < units.count < len(tokens_b.keep)

    table = found.matches
    right = np.where(table.feature < SHARED, where[table.feature], -2)
    recovered = table.of_a & (table.partner == right) & table.is_mutual & (table.q <= 0.05)
    assert recovered.sum() >= 0.95 * SHARED
    own = np.where(table.of_a, table.feature >= SHARED, ~np.isin(table.feature, where[:SHARED]))
    # Own features are unrelated: five binomial standard deviations.
    assert (table.p[own] <= 0.05).mean() <= 0.05 + 5 * np.sqrt(0.05 * 0.95 / own.sum())


def test_shared_features__are_lost_where_tokens_are_paired_by_number() -> None:
    """What alignment is for: the same codes, paired row by row, share nothing."""
    rng = np.random.default_rng(0)
    text = corpus(rng)
    tokens_a, codes_a = side(rng, text.texts, text.concept, cut=True)
    tokens_b, codes_b = side(rng, text.texts, text.concept, cut=False)
    rows = []
    for document in range(DOCUMENTS):
        here_a, here_b = (np.flatnonzero(t.document == document) for t in (tokens_a, tokens_b))
        length = min(len(here_a), len(here_b))
        rows.append((here_a[:length], here_b[:length]))
    masks = [np.zeros(codes.rows, np.bool_) for codes in (codes_a, codes_b)]
    for pair in rows:
        for mask, row in zip(masks, pair, strict=True):
            mask[row] = True
    table = match_features(
        codes_a.keep(masks[0]), codes_b.keep(masks[1]), tokens_a.document[masks[0]], permutations=5
    ).matches
    assert (table.of_a & table.is_mutual & (table.q <= 0.05)).sum() <= 0.1 * SHARED
