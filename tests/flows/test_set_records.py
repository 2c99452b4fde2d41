"""Pairs and labels of a set of codes: those of one corpus that holds all."""

from collections.abc import Callable
from contextlib import closing
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from actlake.flows import label_units, record_plots
from actlake.flows import summarize_labels as labels_module
from actlake.flows import summarize_pairs as pairs_module
from actlake.flows.delete import delete
from actlake.flows.report_records import records
from actlake.flows.summarize import summarize
from actlake.flows.summarize_labels import summarize_labels
from actlake.flows.summarize_pairs import summarize_pairs
from actlake.flows.withdraw import withdraw
from actlake.storage.errors import BusyError, InputError, NotFoundError
from actlake.storage.lake import Lake
from tests.flows.commands import Cli, ok
from tests.flows.set_lake import MASK, OPTIONS, PARTS, SET, WHOLE, add, codes_of, rows
from tests.flows.set_lake import copied_set_lake as copied_set_lake
from tests.flows.set_lake import shared_set_lake as shared_set_lake

PAIRS: dict[str, Any] = {"min_fires": 4, "min_joint": 2, "top": 6}
KEYS = {
    "feature_pairs": ["level", "feature_a", "rank"],
    "feature_families": ["level", "family", "feature"],
    "feature_labels": ["subset", "value", "feature"],
}


def require_alike(lake: Lake, table: str, mask: str = MASK) -> pl.DataFrame:
    """What the set has, which is what the codes of the one corpus have."""
    found, right = (
        rows(lake, table, name, mask).sort(KEYS[table]).drop("run")
        for name in ("three", codes_of(WHOLE))
    )
    assert found.height == right.height
    for name in found.columns:
        mine, theirs = found[name], right[name]
        assert mine.is_null().to_list() == theirs.is_null().to_list(), name
        if mine.dtype.is_float():
            close = np.isclose(mine.fill_null(0), theirs.fill_null(0), rtol=1e-9, atol=1e-12)
            assert close.all(), name
        else:
            assert mine.to_list() == theirs.to_list(), name
    return found


@pytest.mark.parametrize(("level", "values"), [("token", 40), ("document", 40), ("token", 10**6)])
def test_pairs__are_counted_as_of_one_corpus(
    lake: Lake, level: str, values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.create_mask("late", "position > 2")
    monkeypatch.setattr(pairs_module, "VALUES", values)  # many blocks, or one
    summarize(lake, codes=SET, name="three", **OPTIONS | {"mask": "late"})
    for codes in ("three", codes_of(WHOLE)):
        summarize_pairs(lake, codes=codes, mask="late", level=level, with_redundancy=True, **PAIRS)
    found = require_alike(lake, "feature_pairs", "late")
    family = require_alike(lake, "feature_families", "late")
    assert found["decoder_cosine"].null_count() == 0
    # Most documents have a row of the root, and what fires nearly everywhere is nobody's parent.
    assert (family.height > 0) == (level == "token")
    asked = {"codes": "three", "mask": "late", "level": level, "feature": found["feature_a"][0]}
    assert lake.query("partners_of_feature", **asked).pl().height > 0
    assert [str(fault) for fault in lake.verify()] == []


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({"label": "length", "subset_by": "author"}, 40),
        ({"label": "length", "subset_by": "author"}, 10**6),
        ({"label": "author", "pooling": "mean"}, 40),
        ({"label": "length", "level": "token"}, 10**6),
        ({"label": "about"}, 10**6),
        ({"label": "about", "subset_by": "length"}, 40),
    ],
    ids=str,
)
def test_labels__are_compared_as_of_one_corpus(
    lake: Lake, given: dict[str, Any], values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_units, "VALUES", values)  # many ranges of features, or one
    summarize(lake, codes=SET, name="three", **OPTIONS)
    for codes in ("three", codes_of(WHOLE)):
        summarize_labels(lake, codes=codes, mask=MASK, min_fires=3, **given)
    found = require_alike(lake, "feature_labels")
    assert found.height > 0
    assert (found["subset"] != "").any() == ("subset_by" in given)
    assert [str(fault) for fault in lake.verify()] == []


def both(lake: Lake, mask: str = MASK, **given: Any) -> None:
    summarize_pairs(lake, codes="three", mask=mask, **PAIRS | given)
    summarize_labels(lake, codes="three", mask=mask, label="length", min_fires=3)


def counts(lake: Lake, mask: str = MASK) -> list[int]:
    return [rows(lake, table, "three", mask).height for table in KEYS]


def test_records__go_when_the_set_gets_other_members(lake: Lake) -> None:
    summarize(lake, codes=SET, name="three", **OPTIONS)
    both(lake)
    before = counts(lake)
    assert min(before) > 0
    snapshot = lake.newest_snapshot()
    both(lake)
    assert lake.newest_snapshot() == snapshot  # found complete
    summarize(lake, codes=SET, name="three", **OPTIONS | {"examples": 3})
    assert counts(lake) == before  # of the same members
    summarize(lake, codes=SET[:2], name="three", **OPTIONS)
    assert counts(lake) == [0, 0, 0]
    both(lake)
    assert counts(lake) != before
    summarize(lake, codes=SET, name="three", **OPTIONS)
    assert counts(lake) == [0, 0, 0]
    both(lake)  # which was done once, before the others came
    assert counts(lake) == before
    summarize(lake, codes=SET[::-1], name="three", **OPTIONS)
    assert counts(lake) == [0, 0, 0]  # rows and documents are numbered in the other order
    assert [str(fault) for fault in lake.verify()] == []


@pytest.mark.parametrize("flow", [pairs_module, labels_module])
def test_set__that_gets_others_meanwhile_is_not_told_of(
    lake: Lake, flow: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    summarize(lake, codes=SET, name="three", **OPTIONS)
    real = flow.benjamini_hochberg

    def meanwhile(*given: Any, **named: Any) -> NDArray[np.float64]:
        monkeypatch.setattr(flow, "benjamini_hochberg", real)
        with closing(Lake.open(lake.root)) as other:
            summarize(other, codes=SET[:2], name="three", **OPTIONS)
        found: NDArray[np.float64] = real(*given, **named)
        return found

    monkeypatch.setattr(flow, "benjamini_hochberg", meanwhile)
    with pytest.raises(BusyError, match="three was summarized with other codes meanwhile"):
        both(lake)
    assert flow is labels_module or counts(lake) == [0, 0, 0]
    assert rows(lake, "feature_labels", "three").height == 0
    both(lake)
    assert min(counts(lake)) > 0
    assert [str(fault) for fault in lake.verify()] == []


def test_spans__of_a_corpus_without_any_are_silent_and_not_unknown(lake: Lake) -> None:
    add(lake, "quiet", spans={"about": []})
    add(lake, "unknown", spans={})
    for corpus in ("quiet", "unknown"):
        summarize(lake, codes=[SET[0], codes_of(corpus)], name=corpus, **OPTIONS)
    summarize_labels(lake, codes="quiet", mask=MASK, label="about", min_fires=3)
    summarize_labels(lake, codes=SET[0], mask=MASK, label="about", min_fires=3)
    whole, one = (
        rows(lake, "feature_labels", name).select("value", "n_positive", "n_negative").unique()
        for name in ("quiet", SET[0])
    )
    for value, n_positive, n_negative in one.rows():
        [(_, positive, negative)] = whole.filter(value=value).rows()
        assert positive == n_positive
        assert negative > n_negative
    with pytest.raises(NotFoundError, match="no label 'about' on spans of unknown"):
        summarize_labels(lake, codes="unknown", mask=MASK, label="about", min_fires=3)


def test_records__of_a_set_are_shown(lake: Lake) -> None:
    summarize(lake, codes=SET, name="three", **OPTIONS)
    both(lake)
    shown = records(lake, MASK)
    assert {one["codes"] for one in (*shown["families"], *shown["told"])} == {"three"}
    assert all(one["tokens"] for one in shown["told"])
    for plot in (record_plots.pairs, record_plots.labels):
        assert plot(lake, "three", MASK).axes
        with pytest.raises(NotFoundError, match="no codes 'four'"):
            plot(lake, "four", MASK)


def test_records__are_of_their_mask_and_go_with_it(lake: Lake) -> None:
    lake.create_mask("late", "position > 2")
    for mask in (MASK, "late"):
        summarize(lake, codes=SET, name="three", **OPTIONS | {"mask": mask})
        both(lake, mask)
    before = counts(lake, "late")
    assert min(before) > 0
    both(lake, "late", top=1)
    assert counts(lake, "late") < before
    both(lake, "late")  # which was done once, before the other
    assert counts(lake, "late") == before
    summarize(lake, codes=SET[:2], name="three", **OPTIONS)
    assert counts(lake) == [0, 0, 0]
    assert counts(lake, "late") == before
    delete(lake, kind="mask", name="late", cascade=True)
    assert counts(lake, "late") == [0, 0, 0]
    assert [str(fault) for fault in lake.verify()] == []


def withdrawn(lake: Lake) -> None:
    withdraw(lake, corpus=PARTS[0], documents=[4], reason="asked")


def deleted(lake: Lake) -> None:
    delete(lake, kind="codes", name=SET[1], cascade=True)


@pytest.mark.parametrize("change", [withdrawn, deleted])
def test_records__go_with_what_they_were_counted_of(
    lake: Lake, change: Callable[[Lake], None]
) -> None:
    summarize(lake, codes=SET, name="three", **OPTIONS)
    both(lake)
    change(lake)
    assert counts(lake) == [0, 0, 0]
    assert [str(fault) for fault in lake.verify()] == []
    with pytest.raises(NotFoundError, match="no codes 'three'"):
        both(lake)
    if change is withdrawn:
        summarize(lake, codes=SET, name="three", **OPTIONS)
        both(lake)
        assert min(counts(lake)) > 0


def test_names__that_tell_of_nothing_are_refused(lake: Lake, cli: Cli) -> None:
    summarize(lake, codes=SET, name="three", **OPTIONS)
    snapshot = lake.newest_snapshot()
    for flow, given in ((summarize_pairs, PAIRS), (summarize_labels, {"label": "length"})):
        with pytest.raises(NotFoundError, match="no codes 'four'"):
            flow(lake, codes="four", mask=MASK, **given)
        with pytest.raises(InputError, match="three is not summarized under the mask all"):
            flow(lake, codes="three", mask="all", **given)
    with pytest.raises(NotFoundError, match="no label 'size' on the documents of first"):
        summarize_labels(lake, codes="three", mask=MASK, label="size")
    assert lake.newest_snapshot() == snapshot
    told = cli(lake.root, "summarize-pairs", "three", "--min-fires", "4")
    ok(told)
    assert "partners kept" in told.stderr
