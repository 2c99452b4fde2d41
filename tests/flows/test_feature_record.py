"""The record of a feature beyond counts: documents, places, tokens beside it, other examples."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from actlake.flows import summary_states
from actlake.flows.document_labels import document_label
from actlake.flows.repair import repair
from actlake.flows.summarize import summarize
from actlake.storage.errors import NotFoundError
from actlake.storage.example_rows import KINDS
from actlake.storage.lake import Lake
from tests.flows.commands import Cli, ok
from tests.flows.counted import CODES, MASKS, stored, table, under
from tests.flows.counted import counted_lake as counted_lake


@pytest.mark.parametrize("mask", MASKS)
def test_documents_and_profiles__equal_a_dense_count(lake: Lake, mask: str) -> None:
    """Windows and shards end inside documents, so states of several shards meet in one."""
    rowset, rows = lake.codes(CODES).rowset, under(lake, mask)
    document, position = rowset.column("document"), rowset.column("position")
    token = rowset.column("token_id")
    before = np.where(np.diff(document, prepend=-1) == 0, np.roll(token, 1), -1)
    after = np.where(np.diff(document, append=-1) == 0, np.roll(token, -1), -1)
    statistics = table(lake, "feature_statistics", mask).sort("feature")
    profiles = table(lake, "feature_profiles", mask).sort("feature")
    beside = table(lake, "feature_tokens", mask)
    positions = table(lake, "feature_positions", mask)
    everything = np.unique(document[rows])
    assert statistics["n_documents"].to_list() == [len(everything)] * 32
    matrix = stored(lake)
    for feature in range(matrix.shape[1]):
        fired = rows & (matrix[:, feature] > 0)
        counts = np.array([(document[fired] == one).sum() for one in everything])
        found = statistics.row(feature, named=True) | profiles.row(feature, named=True)
        assert found["n_documents_fires"] == (counts > 0).sum()
        placed = positions.filter(pl.col("feature") == feature)
        assert placed["n_fires"].sum() == fired.sum()
        for one in placed.iter_rows(named=True):
            inside = (position >= one["position_start"]) & (position < one["position_stop"])
            assert (one["n_fires"], one["n_rows"]) == (
                (fired & inside).sum(),
                (rows & inside).sum(),
            )
        if not fired.any():
            assert (found["gini_documents"], found["top_token_share"]) == (None, None)
            continue
        place = np.flatnonzero(fired[rows])
        if len(place) > 2:
            ratio = np.diff(place).std() / np.diff(place).mean()
            up, down = np.sqrt(len(place)), np.sqrt(len(place) - 2)
            right = (up * ratio - down) / ((up - 2) * ratio + down)
            assert found["burstiness"] == pytest.approx(right, abs=1e-9)
        else:
            assert found["burstiness"] is None
        assert found["gini_sources"] is None
        mean_gap = np.abs(counts[:, None] - counts).mean()
        assert found["gini_documents"] == pytest.approx(mean_gap / 2 / counts.mean())
        assert found["top_token_share"] == pytest.approx(
            np.bincount(token[fired]).max() / fired.sum()
        )
        for kind, side in (("previous", before), ("next", after)):
            held = side[fired & (side >= 0)]
            mine = beside.filter((pl.col("feature") == feature) & (pl.col("kind") == kind))
            right = np.sort(np.bincount(held))[::-1][:4]
            assert mine.sort("rank")["count"].to_list() == right[right > 0].tolist()
            if len(held):
                share = np.bincount(held).max() / len(held)
                assert found[f"{kind}_token_share"] == pytest.approx(share)


def contexts(lake: Lake) -> NDArray[np.int64]:
    """A number for what stands up to 8 tokens before and behind each row, in its document."""
    rowset = lake.codes(CODES).rowset
    token, document = rowset.column("token_id"), rowset.column("document")
    seen: dict[tuple[object, ...], int] = {}
    found = []
    for row in range(len(token)):
        around = range(row - 8, row + 9)
        inside = (0 <= at < len(token) and document[at] == document[row] for at in around)
        held = (int(token[at]) if ok else None for at, ok in zip(around, inside, strict=True))
        found.append(seen.setdefault(tuple(held), len(seen)))
    return np.array(found)


@pytest.mark.parametrize("mask", MASKS)
def test_examples_of_other_kinds__are_what_they_say(lake: Lake, mask: str) -> None:
    rows, matrix = under(lake, mask), stored(lake)
    token = lake.codes(CODES).rowset.column("token_id")
    context = contexts(lake)
    found = table(lake, "feature_examples", mask)
    alike = np.bincount(context[rows], minlength=context.max() + 1)
    assert found["n_alike"].to_list() == alike[context[found["row"].to_numpy()]].tolist()
    tokens = table(lake, "feature_tokens", mask)
    for feature in range(matrix.shape[1]):
        fired, silent = matrix[:, feature] > 0, matrix[:, feature] == 0
        of = {
            str(kind): held.sort("rank")
            for (kind,), held in found.filter(pl.col("feature") == feature).group_by("kind")
        }
        for kind, where in (
            ("top", fired), ("quantile", fired), ("random", fired), ("silent", silent),
        ):  # fmt: skip
            many = len(set(context[rows & where].tolist()))
            held = of[kind]["row"].to_numpy() if kind in of else np.zeros(0, int)
            assert (rows & where)[held].all()
            assert len(set(context[held].tolist())) == len(held)
            assert len(held) == min(many, 5) or kind == "quantile"
            assert (many > 0) == (len(held) > 0)
        if "negative" in of:
            held = of["negative"]["row"].to_numpy()
            best = tokens.filter(
                (pl.col("feature") == feature) & (pl.col("kind") == "count") & (pl.col("rank") <= 3)
            )
            assert (rows & silent)[held].all()
            assert len(set(context[held].tolist())) == len(held)
            assert set(token[held]) <= set(best["token_id"])


@pytest.mark.parametrize("kind", KINDS)
def test_contexts_of__many_features_are_those_of_each(
    lake: Lake, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {
        feature: lake.contexts(CODES, feature, mask=MASKS[0], kind=kind, before=3, after=2)
        for feature in reversed(range(lake.codes(CODES).n_features))
    }
    assert any(alone.values())
    monkeypatch.setattr("actlake.storage.contexts.AT_ONCE", 3)

    found = lake.contexts_of(
        CODES,
        reversed(range(lake.codes(CODES).n_features)),
        mask=MASKS[0],
        kind=kind,
        before=3,
        after=2,
    )

    assert found == alone
    assert [*found] == [*alone]
    assert lake.contexts_of(CODES, [], mask=MASKS[0]) == {}


def test_contexts__show_the_text_and_where_the_feature_fires(lake: Lake) -> None:
    """Against the documents, rows and dense values themselves."""
    codes = lake.codes(CODES)
    column = {name: codes.rowset.column(name) for name in ("document", "char_start", "char_stop")}
    texts = lake.sql("SELECT text FROM documents ORDER BY document").arrow()["text"].to_pylist()
    values = codes[:].dense()
    for feature, contexts in lake.contexts_of(
        CODES, range(lake.codes(CODES).n_features), mask=MASKS[0], limit=9
    ).items():
        for one in contexts:
            near = np.arange(max(0, one.row - 24), min(len(codes), one.row + 13))
            near = near[column["document"][near] == one.document]
            near = near[column["char_stop"][near] > column["char_start"][near]]
            left, right = column["char_start"][near].min(), column["char_stop"][near].max()
            assert one.document == column["document"][one.row]
            assert one.text == texts[one.document][left:right]
            assert (one.start + left, one.stop + left) == tuple(
                column[edge][one.row] for edge in ("char_start", "char_stop")
            )
            assert [(span.start + left, span.value) for span in one.spans] == [
                (column["char_start"][row], values[row, feature])
                for row in near
                if values[row, feature] > 0
            ]


def test_summary__computes_again_only_the_state_whose_code_changed(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = Lake.open(shutil.copytree(lake.root, tmp_path / "lake"))

    def made() -> dict[str, int]:
        counted = "SELECT statistic, count(*) FROM partials WHERE mask = 'late' GROUP BY ALL"
        return {str(name): int(str(n)) for name, n in copied.sql(counted).rows()}

    before, shards = made(), len(copied.codes(CODES).grid)
    assert set(before.values()) == {shards}
    monkeypatch.setitem(summary_states.VERSIONS, "positions", 99)
    summarize(copied, codes=CODES, mask="late", examples=5, tokens=4)
    assert made() == before | {"positions": 2 * shards}
    summarize(copied, codes=CODES, mask="late", examples=5, tokens=2)  # nothing but a merge
    assert made() == before | {"positions": 2 * shards}
    assert table(copied, "feature_tokens", "late")["rank"].max() == 2


@pytest.mark.slow
def test_sources__are_the_values_of_a_label_and_their_partials_are_kept(
    lake: Lake, tmp_path: Path
) -> None:
    copied = Lake.open(shutil.copytree(lake.root, tmp_path / "lake"))
    given: dict[str, Any] = {"codes": CODES, "mask": "late", "examples": 5, "tokens": 4}
    with pytest.raises(NotFoundError, match="no label 'nobody'"):
        summarize(copied, **given, source="nobody")
    newest = copied.newest_snapshot()
    summarize(copied, **given, source="side")
    found = table(copied, "feature_statistics", "late").sort("feature")
    rows, matrix, rowset = under(copied, "late"), stored(copied), copied.codes(CODES).rowset
    side = document_label(copied, rowset.corpus, "side", rowset.column("document").max() + 1)
    names, number = np.unique(side[rowset.column("document")].astype(str), return_inverse=True)
    assert found["n_sources"].to_list() == [len(names)] * 32
    for feature, one in enumerate(found.iter_rows(named=True)):
        fires = (matrix[:, feature] > 0) & rows
        rate = np.bincount(number, fires) / np.bincount(number, rows)
        assert one["n_sources_fires"] == (rate > 0).sum()
        each = rate[number[rows]]
        if fires.any():
            right = np.abs(each[:, None] - each).mean() / 2 / each.mean()
            assert one["gini_sources"] == pytest.approx(right, abs=1e-9)
    shards = len(copied.codes(CODES).grid)
    made = "SELECT statistic, count(*) FROM partials WHERE mask = 'late' GROUP BY ALL"
    assert ("sources", shards) in copied.sql(made).rows()
    path = copied.sql("SELECT min(path) FROM partials WHERE statistic = 'sources'").rows()[0][0]
    before = (copied.root / str(path)).read_bytes()
    (copied.root / str(path)).write_bytes(before[:-1])
    repair(copied)
    assert (copied.root / str(path)).read_bytes() == before
    assert copied.newest_snapshot() > newest


def test_summarize__with_weights_tells_them_too(lake: Lake, tmp_path: Path, cli: Cli) -> None:
    root = shutil.copytree(lake.root, tmp_path / "lake")
    asked = ("summarize", CODES, "--mask", "late", "--examples", 5, "--tokens", 4, "--weights")
    ok(cli(root, *asked, "--runner", "inline"))
    found = Lake.open(root)
    assert len(found.table("features").collect()) == 32
    duplicates = "SELECT count(is_duplicate) FROM feature_summary WHERE mask = 'late'"
    assert found.sql(duplicates).rows() == [(32,)]
