"""Words that texts where a feature fires have and matched silent texts have not."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import CountVectorizer

from actlake.analytics.hypotheses.labels import numbered
from actlake.analytics.hypotheses.pooling import Matrix

Numbers = NDArray[np.int64]

LONGEST = 64
"""Code points of the longest word that is kept: longer ones are addresses and encoded data."""
PRIOR_DOCUMENTS = 10.0
"""Weight of the whole corpus in each side's frequency, in documents."""


@dataclass(frozen=True, slots=True)
class Phrases:
    """The phrases of one or two words of some texts."""

    phrases: NDArray[np.object_]
    """Text each, of shape (phrases,): an array of fixed width would pad all to the longest."""
    present: Matrix
    """Shape (texts, phrases), 1 where the text has the phrase."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """One phrase and how often the two sides have it."""

    phrase: str
    n_firing: int
    """Firing documents that have it."""
    n_silent: int
    """Matched silent documents that have it."""
    log_odds: float
    """Of a firing document having it, against a silent one; 0 is no difference."""
    z: float
    """``log_odds`` in standard errors."""


def read_phrases(texts: Sequence[str]) -> Phrases:
    """Which phrases each of ``texts`` has, in lower case; a phrase counts once a text.

    Texts are put into normal form C first. A word is a run of letters, digits and the marks on
    them, such as vowel signs, with what apostrophes and hyphens join to it. Words of more than
    ``LONGEST`` code points, and phrases with one, are left out. Stop words stay: they are as
    frequent on both sides, so they rank low by themselves.
    """
    lower = [unicodedata.normalize("NFC", text.lower()) for text in texts]
    characters = set().union(*lower)
    if not any(one.isalnum() or one == "_" for one in characters):
        none: Matrix = csr_array((len(texts), 0), dtype=np.float64)
        return Phrases(np.array([], np.object_), none)
    pattern = _word(characters)
    count = CountVectorizer(
        lowercase=False, token_pattern=pattern, ngram_range=(1, 2), binary=True, dtype=np.float64
    )
    present = csr_array(count.fit_transform(lower))
    phrases = count.get_feature_names_out()
    kept = [max(map(len, phrase.split(" "))) <= LONGEST for phrase in phrases]
    return Phrases(phrases[kept], present[:, np.flatnonzero(kept)].tocsr())


def _word(characters: set[str]) -> str:
    r"""The pattern of a word: ``\w`` knows no marks, so those that occur are named."""
    marks = [one for one in characters if unicodedata.category(one).startswith("M")]
    # Joiners choose the form of letters in Persian or Hindi; they part no words.
    inside = rf"[\w\u200c\u200d{''.join(sorted(marks))}]*"
    return rf"\w{inside}(?:['’-]\w{inside})*"


def matched_documents(
    strength: NDArray[np.float64],
    length: NDArray[np.integer[Any]],
    group: NDArray[Any] | None = None,
    *,
    most: int = 200,
) -> tuple[Numbers, Numbers]:
    """Firing documents and, place by place, the silent one matched to each.

    A document fires where ``strength``, shape (documents,), is > 0; of more than ``most`` the
    strongest are taken. Each silent document is used once, and the sum of |log length ratio| over
    all pairs is the least possible. With ``group``, as many pairs as possible are of one group.
    With fewer silent than firing documents, some of the latter are left out. Memory: 8 bytes ×
    ``most`` × silent documents.
    """
    firing = np.argsort(-strength, kind="stable")[: min(most, np.count_nonzero(strength > 0))]
    silent = np.flatnonzero(strength <= 0)
    size = np.log1p(length.astype(np.float64))
    cost = np.abs(size[firing][:, None] - size[silent])
    if group is not None:
        number = numbered(group)[0]
        further = 1 + cost.max(initial=0) * len(firing)  # than any lengths can be
        cost += further * (number[firing][:, None] != number[silent])
    left, right = linear_sum_assignment(cost)
    return firing[left], silent[right]


def contrastive_words(
    words: Phrases, firing: Numbers, silent: Numbers, *, top: int = 10, min_documents: int = 3
) -> list[Phrase]:
    """The ``top`` phrases by z that documents ``firing`` have more often than ``silent`` ones.

    A phrase needs ``min_documents`` firing documents. A word is left out where a phrase of two
    words with it has the same counts. Empty without documents or such phrases.

    Frequencies are of documents, so that one repetitive text counts once. Each side's is
    smoothed by a prior of ``PRIOR_DOCUMENTS`` documents with the frequency in all texts; z
    divides the log-odds ratio by its standard error. Being chosen among thousands, z ranks
    phrases and tests none.

    Source: Monroe, Colaresi & Quinn (2008), "Fightin' Words", Political Analysis 16, equations
    15 to 22, with counts of documents in place of tokens.
    """
    everywhere = (words.present.sum(axis=0) + 0.5) / (words.present.shape[0] + 1)
    counts: list[NDArray[np.float64]] = [
        words.present[side].sum(axis=0) for side in (firing, silent)
    ]
    odds, variance = [], np.zeros(len(words.phrases))
    for side, count in zip((firing, silent), counts, strict=True):
        has = count + PRIOR_DOCUMENTS * everywhere
        lacks = len(side) + PRIOR_DOCUMENTS - has
        odds.append(np.log(has / lacks))
        variance += 1 / has + 1 / lacks
    log_odds = odds[0] - odds[1]
    z = log_odds / np.sqrt(variance)
    kept = (counts[0] >= min_documents) & (z > 0)
    kept &= ~_absorbed(words.phrases, counts, kept)
    order = np.flatnonzero(kept)[np.argsort(-z[kept], kind="stable")][:top]
    return [
        Phrase(
            str(words.phrases[i]),
            int(counts[0][i]),
            int(counts[1][i]),
            float(log_odds[i]),
            float(z[i]),
        )
        for i in order
    ]


def _absorbed(
    phrases: NDArray[np.object_], counts: list[NDArray[np.float64]], kept: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Words that never stand outside one of the ``kept`` phrases of two words."""
    place = {phrase: i for i, phrase in enumerate(phrases.tolist())}
    absorbed = np.zeros(len(phrases), np.bool_)
    for i in np.flatnonzero(kept):
        for word in phrases[i].split(" ")[:2]:
            part = place[word]
            if part != i and all(count[part] == count[i] for count in counts):
                absorbed[part] = True
    return absorbed
