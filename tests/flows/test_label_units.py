"""Labels are compared range by range: the same scores however features are cut."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from actlake.flows import label_units
from actlake.flows import summarize_labels as module
from actlake.flows.codes_blocks import blocks
from actlake.flows.summarize_labels import summarize_labels
from actlake.storage.csr import Csr
from actlake.storage.errors import BusyError
from actlake.storage.lake import Lake
from tests.flows import record_lake as record
from tests.flows import span_lake as span
from tests.flows.record_lake import rows, shared_record_lake  # noqa: F401  # a fixture
from tests.flows.span_lake import shared_span_lake  # noqa: F401  # a fixture


@pytest.fixture
def copied(span_lake: Lake, tmp_path: Path) -> Iterator[Lake]:
    with closing(Lake.open(shutil.copytree(span_lake.root, tmp_path / "lake"))) as lake:
        yield lake


@pytest.mark.parametrize("values", [1, 300])
@pytest.mark.parametrize("pooling", ["max", "mean"])
def test_documents__have_the_same_scores_however_features_are_cut(
    record_lake: Lake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pooling: str,
    values: int,
) -> None:
    lake = Lake.open(shutil.copytree(record_lake.root, tmp_path / "lake"))

    def scored() -> pl.DataFrame:
        summarize_labels(lake, codes=record.CODES, label="side", subset_by="party", pooling=pooling)
        found = rows(lake, "feature_labels", label="side", level="document", pooling=pooling)
        return found.drop("run").sort("value", "subset_by", "subset", "feature")

    before = scored()
    assert before["subset"].n_unique() > 2
    monkeypatch.setattr(label_units, "VALUES", values)
    monkeypatch.setattr(label_units, "PASSES", 10**6)
    monkeypatch.setattr(module, "CODE_VERSION", "other")
    assert_frame_equal(scored(), before, rel_tol=1e-12)  # sums over others' widths differ
    with lake.run("test", {}, {}) as run:
        of = [lake.codes(record.CODES)], lake.mask(record.MASK)
        ranges = [*label_units.documents_as_units(lake, *of, run, pooling).ranges()]
    assert sum(one.values.shape[1] for one in ranges) == record.FEATURES
    assert all(one.values.nnz <= values or one.values.shape[1] == 1 for one in ranges)
    assert len(ranges) > 1


@pytest.mark.parametrize("label", ["entity", "domain"])
@pytest.mark.parametrize("values", [1, 200, 10**6])
def test_rows__have_the_same_scores_however_features_are_cut(
    copied: Lake, monkeypatch: pytest.MonkeyPatch, label: str, values: int
) -> None:
    given: dict[str, Any] = {"codes": span.CODES, "label": label, "level": "token", "min_fires": 6}
    summarize_labels(copied, **given)
    before = of_label(copied, label)
    monkeypatch.setattr(label_units, "VALUES", values)
    monkeypatch.setattr(label_units, "PASSES", 10**6)
    monkeypatch.setattr(module, "CODE_VERSION", "other")
    summarize_labels(copied, **given)
    assert of_label(copied, label).equals(before, null_equal=True)
    of = [copied.codes(span.CODES)], copied.mask("no_special")
    ranges = [*label_units.rows_as_units(copied, *of, of_spans=False).ranges()]
    assert sum(one.values.shape[1] for one in ranges) == span.FEATURES
    assert (len(ranges) > 1) == (values < 10**6)
    assert all(one.values.nnz <= values or one.values.shape[1] == 1 for one in ranges)


def test_rows__that_are_withdrawn_meanwhile_are_told(
    copied: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fewer(*given: Any, **named: Any) -> Iterator[Csr]:
        for one in blocks(*given, **named):
            keep = np.arange(one.rows) > 0
            yield one.keep(keep)

    monkeypatch.setattr(label_units, "blocks", fewer)
    before = rows(copied, "feature_labels").rows()
    with pytest.raises(BusyError, match="rows were withdrawn while they were compared; run this"):
        summarize_labels(copied, codes=span.CODES, label="entity", min_fires=7)
    assert rows(copied, "feature_labels").rows() == before


def of_label(lake: Lake, label: str) -> pl.DataFrame:
    found = rows(lake, "feature_labels", label=label, level="token").drop("run")
    return found.sort("value", "subset", "feature")


def test_ranges__are_no_more_than_passes_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_units, "VALUES", 10)
    many = label_units._cuts(np.full(10_000, 7))
    assert 32 <= len(many) <= 33
    assert [start for start, _ in many] == [0, *(stop for _, stop in many[:-1])]
    assert label_units._cuts(np.array([6, 4, 7, 1])) == [(0, 2), (2, 4)]
