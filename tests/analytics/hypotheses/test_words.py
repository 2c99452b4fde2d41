import numpy as np
import pytest

from actlake.analytics.hypotheses.words import (
    PRIOR_DOCUMENTS,
    Phrases,
    contrastive_words,
    matched_documents,
    read_phrases,
)


def test_contrastive_words__find_the_planted_phrase_and_rank_stop_words_low() -> None:
    rng = np.random.default_rng(0)
    vocabulary = [f"word{i}" for i in range(200)]
    texts = []
    for i in range(200):
        words = rng.choice(vocabulary, 40).tolist()
        words[::4] = ["the"] * 10
        if i < 100 and i % 5:
            words[7:9] = ["Federal", "Reserve"]
        texts.append(" ".join(words))
    found = contrastive_words(read_phrases(texts), np.arange(100), np.arange(100, 200))
    assert found[0].phrase == "federal reserve"
    assert (found[0].n_firing, found[0].n_silent) == (80, 0)
    assert found[0].z > 2 * found[1].z
    # The words stand nowhere else, so the phrase speaks for them; "the" is on both sides.
    assert not {"federal", "reserve", "the"} & {phrase.phrase for phrase in found}


def test_contrastive_words__keep_a_word_that_also_stands_alone() -> None:
    texts = ["free trade"] * 6 + ["free people"] * 2 + ["plain words"] * 8
    found = contrastive_words(read_phrases(texts), np.arange(8), np.arange(8, 16))
    assert [p.phrase for p in found] == ["free", "free trade"]


def test_contrastive_words__one_repetitive_text_does_not_win() -> None:
    texts = ["gold " * 500] + ["silver coin"] * 9 + ["paper"] * 10
    found = contrastive_words(read_phrases(texts), np.arange(10), np.arange(10, 20))
    assert [p.phrase for p in found] == ["silver coin"]
    alone = contrastive_words(
        read_phrases(texts), np.arange(10), np.arange(10, 20), min_documents=1
    )
    assert alone[0].phrase == "silver coin"
    assert {p.n_firing for p in alone if "gold" in p.phrase} == {1}


def test_contrastive_words__z_is_that_of_monroe_colaresi_and_quinn() -> None:
    # Two texts of each side have "tax"; by hand, from equations 15 to 22.
    texts = ["tax", "tax", "tax", "law", "law", "law", "law", "tax"]
    words = read_phrases(texts)
    found = contrastive_words(words, np.arange(4), np.arange(4, 8))
    prior = PRIOR_DOCUMENTS * 4.5 / 9
    left, right = 3 + prior, 1 + prior
    no_left, no_right = 4 + PRIOR_DOCUMENTS - left, 4 + PRIOR_DOCUMENTS - right
    log_odds = np.log(left / no_left) - np.log(right / no_right)
    assert [p.phrase for p in found] == ["tax"]
    assert found[0].log_odds == pytest.approx(log_odds)
    error = np.sqrt(1 / left + 1 / no_left + 1 / right + 1 / no_right)
    assert found[0].z == pytest.approx(log_odds / error)


def test_read_phrases__joins_apostrophes_and_hyphens_and_folds_case() -> None:
    phrases = read_phrases(["Nation’s well-being: don't", "¡Año 1934!"]).phrases
    assert set(phrases.tolist()) == {
        "nation’s",
        "well-being",
        "don't",
        "nation’s well-being",
        "well-being don't",
        "año",
        "1934",
        "año 1934",
    }


def test_read_phrases__keeps_marks_inside_words_and_composes_accents() -> None:
    hindi, decomposed = "हिन्दी", "Cafe\u0301"
    phrases = read_phrases([f"{hindi} {decomposed}", "café"])
    assert set(phrases.phrases.tolist()) == {hindi, "café", f"{hindi} café"}
    at = phrases.phrases.tolist().index("café")
    assert phrases.present[:, [at]].toarray()[:, 0].tolist() == [1, 1]
    persian = "می\u200cخواهم"  # joined by a character of no width
    assert read_phrases([persian]).phrases.tolist() == [persian]


def test_read_phrases__drops_long_words_and_pads_nothing_to_the_longest() -> None:
    texts = ["gold coin " + "a" * 65 + " " + "b" * 64, "A" * 100_000]
    phrases = read_phrases(texts)
    assert set(phrases.phrases.tolist()) == {"gold", "coin", "gold coin", "b" * 64}
    assert phrases.present.shape == (2, 4)
    assert phrases.present[[1]].nnz == 0
    assert phrases.phrases.nbytes <= 8 * 4
    found = contrastive_words(phrases, np.array([0]), np.array([1]), min_documents=1)
    assert {one.phrase for one in found} == {"gold coin", "b" * 64}


def test_contrastive_words__of_nothing_is_an_empty_list() -> None:
    words, none = read_phrases(["a b", "c d"]), np.zeros(0, np.int64)
    assert contrastive_words(words, none, none) == []
    assert contrastive_words(read_phrases(["", " … "]), np.array([0]), np.array([1])) == []
    assert contrastive_words(read_phrases([]), none, none) == []
    assert contrastive_words(words, np.array([0]), np.array([1])) == []  # all are too rare
    assert isinstance(words, Phrases)


def test_matched_documents__have_the_least_difference_of_length() -> None:
    strength = np.array([2.0, 0, 1, 0, 0, 0])
    length = np.array([100, 101, 10, 11, 900, 100])
    firing, silent = matched_documents(strength, length)
    assert firing.tolist() == [0, 2]
    assert silent.tolist() == [5, 3]
    # Each is used once, and the least sum may take from one what suits another.
    firing, silent = matched_documents(np.array([1.0, 1, 0, 0]), np.array([100, 10, 95, 5000]))
    assert dict(zip(firing.tolist(), silent.tolist(), strict=True)) == {0: 3, 1: 2}


def test_matched_documents__are_of_one_group_where_they_can() -> None:
    strength = np.array([1.0, 1, 0, 0, 0])
    length = np.array([50, 50, 50, 50, 5])
    group = np.array(["a", "b", "c", "c", "a"])
    firing, silent = matched_documents(strength, length, group)
    pairs = dict(zip(firing.tolist(), silent.tolist(), strict=True))
    assert pairs[0] == 4  # of its group, however different in length
    assert pairs[1] in (2, 3)


def test_matched_documents__take_the_strongest_and_leave_out_what_has_no_match() -> None:
    strength = np.array([1.0, 3, 2, 0, 0, 0])
    length = np.full(6, 10)
    assert matched_documents(strength, length, most=2)[0].tolist() == [1, 2]
    firing, silent = matched_documents(np.array([1.0, 2, 0]), np.array([10, 99, 12]))
    assert (firing.tolist(), silent.tolist()) == ([0], [2])
    for alike in (np.zeros(3), np.ones(3)):
        firing, silent = matched_documents(alike, length[:3])
        assert len(firing) == len(silent) == 0
