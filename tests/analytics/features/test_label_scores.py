"""Scores of labels: scikit-learn and scipy on ties and zeros, and the planted truths of D9."""

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import (
    average_precision_score,
    mutual_info_score,
    precision_recall_curve,
    roc_auc_score,
)

from actlake.analytics.features import label_scores
from actlake.analytics.features.label_scores import TOP_SHARE, RankedFeatures, scores_of_layers
from actlake.storage.errors import InputError

Dense = NDArray[np.float64]


def some(n: int = 300) -> tuple[Dense, NDArray[np.bool_]]:
    """Tied values of every density, one feature silent and one always on; three classes."""
    rng = np.random.default_rng(0)
    x = np.round(rng.lognormal(0, 1, (n, 8)) * (rng.random((n, 8)) < rng.random(8)), 0)
    x[:, 6] = 0
    x[:, 7] = 1 + rng.integers(0, 3, n)
    classes = rng.integers(0, 3, n)[:, None] == np.arange(3)
    x[:, 1] += 2 * classes[:, 0]
    return x, classes


def scores(x: Dense, classes: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """Of ``classes``, shape (units, values), of which a unit has one or none."""
    number = np.where(classes.any(axis=1), classes.argmax(axis=1), -1)
    return RankedFeatures(scipy.sparse.csr_array(x)).scores(number, classes.shape[1])


def test_scores__are_those_of_scikit_learn_and_scipy() -> None:
    x, classes = some()
    found = scores(x, classes)
    for feature in range(8):
        for column in range(3):
            a, y = x[:, feature], classes[:, column]
            of = {name: values[feature, column] for name, values in found.items()}
            assert of["auroc"] == pytest.approx(roc_auc_score(y, a), abs=1e-12)
            assert of["auprc"] == pytest.approx(average_precision_score(y, a), abs=1e-12)
            precision, recall, _ = precision_recall_curve(y, a)
            f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
            assert of["f1"] == pytest.approx(f1.max(), abs=1e-12)
            hit = a >= of["threshold"]
            assert of["precision"] == pytest.approx(y[hit].mean(), abs=1e-12)
            assert of["recall"] == pytest.approx(hit[y].mean(), abs=1e-12)
            if feature != 6:
                test = stats.mannwhitneyu(a[y], a[~y], method="asymptotic", use_continuity=False)
                assert of["p"] == pytest.approx(test.pvalue, abs=1e-12)
                # analytics.G4
                assert of["auroc"] * y.sum() * (~y).sum() == pytest.approx(test.statistic)
            for side, inside in (("positive", y), ("negative", ~y)):
                assert of[f"n_{side}"] == inside.sum()
                assert of[f"fires_{side}"] == (a[inside] > 0).sum()
                assert of[f"sum_{side}"] == a[inside].sum()
                assert of[f"square_{side}"] == (a[inside] ** 2).sum()
    assert found["p"][6].tolist() == [1, 1, 1]
    assert found["auroc"][6].tolist() == [0.5, 0.5, 0.5]


def test_levels__are_silent_and_the_halves_of_what_fires() -> None:
    x, classes = some()
    levels = RankedFeatures(scipy.sparse.csr_array(x)).levels()
    found = scores(x, classes)["information"]
    for feature, a in enumerate(x.T):
        fires = a > 0
        strong = a > (np.median(a[fires]) if fires.any() else 0)
        assert levels[feature].tolist() == [(~fires).sum(), (fires & ~strong).sum(), strong.sum()]
        for column, y in enumerate(classes.T):
            right = mutual_info_score(fires + strong.astype(int), y)
            assert found[feature, column] == pytest.approx(right, abs=1e-12)


def test_auroc__of_a_feature_that_only_fires_or_not_is_that_of_its_rates() -> None:
    """analytics.G5: 0.8 of the positive and 0.3 of the negative fire."""
    y = np.arange(200) < 100
    x = np.zeros((200, 1))
    x[:80] = x[100:130] = 1
    assert scores(x, y[:, None])["auroc"] == 0.75


def test_threshold__is_zero_where_every_unit_is_the_best_answer() -> None:
    x, y = np.zeros((10, 1)), np.arange(10) < 9
    x[9] = 1  # the only firing unit has another value
    found = scores(x, y[:, None])
    assert [found[name].item() for name in ("threshold", "recall", "precision")] == [0, 1, 0.9]
    assert found["f1"] == pytest.approx(2 * 0.9 / 1.9)


@pytest.mark.parametrize("ties", [False, True])
def test_top__is_above_the_threshold_that_the_share_of_units_is_above(ties: bool) -> None:
    rng = np.random.default_rng(5)
    x = rng.random((2000, 4))
    x[:, 3] *= rng.random(2000) < 0.002  # fires less often than the share
    if ties:
        x[:, :3] = np.ceil(x[:, :3] * 150)
    y = rng.random(2000) < 0.4
    found = scores(x, y[:, None])
    for feature in range(4):
        values = np.sort(x[:, feature])[::-1]
        above = (x[:, feature] > values[int(TOP_SHARE * 2000)]) & (x[:, feature] > 0)
        assert found["top_n"][feature] == above.sum()
        assert found["top_positive"][feature] == (above & y).sum()


def test_scores__refuse_a_class_of_none_or_all() -> None:
    for y in (np.zeros((5, 1), np.bool_), np.ones((5, 1), np.bool_)):
        with pytest.raises(InputError, match="no unit has, or all"):
            scores(np.ones((5, 2)), y)


def iou(found: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Of the strongest 0.5 % of units and the units of the class, shape (features,)."""
    top, both, has = (found[name][:, 0] for name in ("top_n", "top_positive", "n_positive"))
    return both / (top + has - both)


def test_iou__is_1_on_the_planted_units_and_that_of_chance_on_any_others() -> None:
    """analytics.C15: q π / (q + π - q π), where both are independent."""
    rng = np.random.default_rng(6)
    n, features, q, share = 200_000, 8, TOP_SHARE, 0.2
    y = rng.random(n) < share
    x = rng.random((n, features)) * (rng.random((n, features)) < 2 * q)
    found = scores(x, y[:, None])
    assert set(found["top_n"][:, 0]) == {int(q * n)}
    # The mean of eight, of which each has a deviation of √(q π (1 - π) n) units in both.
    error = np.sqrt(q * share * (1 - share) / n / features) / share
    chance = q * share / (q + share - q * share)
    assert abs(iou(found).mean() - chance) < 5 * error
    rare = rng.random(n) < 0.8 * q
    planted = np.stack((rare * rng.lognormal(0, 1, n), rare, rare & (rng.random(n) < 0.5)), axis=1)
    whole, binary, half = iou(scores(planted.astype(float), rare[:, None]))
    assert (whole, binary) == (1, 1)
    assert half == pytest.approx(0.5, abs=5 * np.sqrt(0.25 / rare.sum()))


@pytest.mark.parametrize("several", [1, 40, 300, 10**6])
def test_scores_of_layers__are_those_of_each_however_features_are_cut(
    monkeypatch: pytest.MonkeyPatch, several: int
) -> None:
    monkeypatch.setattr(label_scores, "TOGETHER", several)
    monkeypatch.setattr(label_scores, "default_threads", lambda: 3)
    x, classes = some()
    number = np.where(classes[:, 2], -1, classes.argmax(axis=1))
    layers, there = (
        [number, np.roll(number, 1), number],
        [np.arange(2), np.array([1]), np.arange(0)],
    )
    values = scipy.sparse.csr_array(x)
    found, levels = scores_of_layers(values, layers, there)
    ranked = RankedFeatures(values)
    alone = np.where(np.roll(number, 1) == 1, 0, -1)
    parts = ranked.scores(number, 2), ranked.scores(alone, 1)
    assert found["auroc"].shape == (8, 3)
    for name, values_of in found.items():
        right = np.concatenate([part[name] for part in parts], axis=1)
        np.testing.assert_array_equal(values_of, right, err_msg=name)
    assert np.array_equal(levels, ranked.levels())
