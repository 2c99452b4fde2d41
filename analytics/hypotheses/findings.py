"""From features and a target to tested hypotheses: screen, describe, confirm, test once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.evaluation.split import SPLITS
from actlake.analytics.hypotheses.correction import benjamini_hochberg, bonferroni
from actlake.analytics.hypotheses.effects import effects
from actlake.analytics.hypotheses.labels import numbered
from actlake.analytics.hypotheses.permutation import largest_units, permutation_test
from actlake.analytics.hypotheses.pooling import Pooled
from actlake.analytics.hypotheses.screening import Screen, screen
from actlake.analytics.hypotheses.words import (
    Phrase,
    contrastive_words,
    matched_documents,
    read_phrases,
)
from actlake.storage.errors import InputError

Floats = NDArray[np.float64]

TRAIN, VALIDATION, HOLDOUT = range(len(SPLITS))


@dataclass(frozen=True, slots=True)
class Findings:
    """Every selected feature, found or not; arrays of shape (selected,), features ascending."""

    columns: dict[str, NDArray[Any]]
    """By the names that ``find`` lists."""
    words: list[list[Phrase]]
    """Of each selected feature, over train and validation; empty lists without texts."""
    n_tests: int
    """Features tested on the holdout."""
    smallest_p: float
    """What no permutation p of this holdout falls below; NaN if nothing was tested."""


def find(
    pooled: Pooled,
    y: Floats,
    group: NDArray[Any],
    split: NDArray[np.int8],
    *,
    unit: NDArray[Any] | None = None,
    texts: Sequence[str] | None = None,
    top: int = 20,
    min_documents: int = 10,
    draws: int = 9999,
    seed: int = 0,
) -> Findings:
    """Hypotheses "the feature goes with the target", each tested once on documents not seen before.

    Everything has one entry a document: ``y`` is real or 0/1, ``group`` and ``unit`` are labels,
    ``split`` an index into ``SPLITS`` with whole groups on one side. Documents with split -1,
    without a target, a group or a given unit, or without kept rows are left out. In order:

    1. *train*: the ``top`` features by |correlation| and the ``top`` by |separation| are selected.
    2. *train and validation*: words of each, from ``texts``, against silent documents matched in
       length, of the same group where there are enough.
    3. *validation*: a feature whose slope has not the sign of its screen is dropped.
    4. *holdout*: the rest are tested, given the log of document length.

    Columns: ``feature``; ``selected_by``; ``correlation`` and ``separation`` on train; ``split``,
    which the following are of: holdout, or validation for a feature dropped there; ``effect``,
    ``ci_low``, ``ci_high``, ``p`` (``effects``); ``n``, ``n_groups``; ``p_permutation`` and
    ``p_family`` (``permutation_test`` over ``largest_units``, with ``unit`` the finer one); ``q``
    (Benjamini-Hochberg) and ``p_bonferroni`` over the ``n_tests`` tests. These two correct
    ``p_permutation``, which assumes the least; ``p`` belongs to the interval, and is NaN where too
    few documents fire for one (``effects``). What was not tested on the holdout has NaN in the
    last four.

    Raises InputError if a part has no documents, one group, or a constant target, if a group is on
    two sides, or if no feature fires in ``min_documents`` documents of train.
    """
    used = (split >= 0) & np.isfinite(y) & (pooled.rows > 0)
    groups = numbered(group)[0]
    finer = np.arange(len(y)) if unit is None else numbered(unit)[0]
    used &= (groups >= 0) & (finer >= 0)
    parts = [np.flatnonzero(used & (split == part)) for part in range(len(SPLITS))]
    _require_parts(parts, y, groups)
    length = np.log(np.maximum(pooled.rows, 1))[:, None]

    train, validation, holdout = parts
    seen = screen(pooled.values[train], y[train], min_documents=min_documents)
    feature, selected_by = seen.strongest(top)
    chosen = pooled.values[:, feature].tocsr()
    words: list[list[Phrase]] = [[] for _ in feature]
    if texts is not None:
        described = np.concatenate((train, validation))
        phrases = read_phrases([texts[i] for i in described])
        strengths = chosen[described].toarray().T  # documents × selected: few
        words = [
            contrastive_words(
                phrases, *matched_documents(strength, pooled.rows[described], groups[described])
            )
            for strength in strengths
        ]

    checked = effects(chosen[validation], y[validation], groups[validation], length[validation])
    confirmed = np.sign(checked.effect) == _sign(seen, feature, selected_by)
    test = chosen[holdout][:, confirmed].tocsr()
    tested = effects(test, y[holdout], groups[holdout], length[holdout])
    units = largest_units(y[holdout], groups[holdout], finer[holdout])
    shuffled = permutation_test(test, y[holdout], units, length[holdout], draws=draws, seed=seed)

    def column(of_tested: Floats, otherwise: Floats | float = np.nan) -> Floats:
        values = np.array(np.broadcast_to(otherwise, feature.shape), np.float64)
        values[confirmed] = of_tested
        return values

    p_permutation = column(shuffled.p)
    n_tests = int(np.count_nonzero(~np.isnan(p_permutation)))
    columns: dict[str, NDArray[Any]] = {
        "feature": feature,
        "selected_by": selected_by,
        "correlation": seen.correlation[feature],
        "separation": seen.separation[feature],
        "split": np.where(confirmed, SPLITS[HOLDOUT], SPLITS[VALIDATION]),
        "effect": column(tested.effect, checked.effect),
        "ci_low": column(tested.ci_low, checked.ci_low),
        "ci_high": column(tested.ci_high, checked.ci_high),
        "n": np.where(confirmed, tested.n, checked.n),
        "n_groups": np.where(confirmed, tested.n_groups, checked.n_groups),
        "n_tests": np.full(len(feature), n_tests),
        "p": column(tested.p, checked.p),
        "p_permutation": p_permutation,
        "p_family": column(shuffled.p_family),
        "q": benjamini_hochberg(p_permutation),
        "p_bonferroni": bonferroni(p_permutation),
    }
    return Findings(columns, words, n_tests, shuffled.smallest_p if n_tests else np.nan)


def _require_parts(parts: list[NDArray[np.int64]], y: Floats, groups: NDArray[np.int64]) -> None:
    of_parts = [set(groups[part].tolist()) for part in parts]
    for name, part, members in zip(SPLITS, parts, of_parts, strict=True):
        if len(members) < 2:
            raise InputError(
                f"{name} has {len(members)} group{'s' * (len(members) != 1)} with a target and an "
                "interval needs 2; group by a label with more values"
            )
        if (y[part] == y[part][0]).all():
            raise InputError(
                f"the target is the same in all {len(part):,} documents of {name}; "
                "choose a target or a level that more documents, of more groups, have"
            )
    if len(set.union(*of_parts)) < sum(map(len, of_parts)):
        raise InputError("a group is on two sides of the split; make the split by split_groups")


def _sign(seen: Screen, feature: NDArray[np.int64], selected_by: NDArray[np.str_]) -> Floats:
    """The sign by which each feature was selected."""
    by_separation = selected_by == "separation"
    return np.sign(np.where(by_separation, seen.separation[feature], seen.correlation[feature]))
