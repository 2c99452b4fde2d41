"""States of features, merged range by range: the same rows as in one piece, to the last bit."""

import tracemalloc
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from actlake.analytics.features.bottom_rows import BottomRows
from actlake.analytics.features.histogram import BINS, FeatureHistogram
from actlake.analytics.features.tokens import FeatureTokens
from actlake.analytics.features.top_rows import TopRows
from actlake.analytics.statistic import merge_wide
from actlake.flows import state_ranges, summary_tables
from actlake.flows.state_ranges import merged_by_range, states_by_range
from actlake.flows.summarize import summarize
from actlake.flows.summary_merging import Merging
from actlake.flows.summary_states import Block, statistics_of
from actlake.storage.csr import csr_from_dense
from actlake.storage.errors import CorruptError
from actlake.storage.lake import Lake
from actlake.storage.local_store import LocalStore
from actlake.storage.partials import open_slices, read_partial, write_partial
from tests.flows.set_lake import (
    EXAMPLES,
    FEATURES,
    MASK,
    SET,
    TOKENS,
    WHOLE,
    codes_of,
    copied_set_lake,  # noqa: F401  # a fixture
    rows,
    shared_set_lake,  # noqa: F401  # a fixture
)

CODED = 13
"""Features of blocks that are made here."""


@pytest.mark.parametrize("codes", [[codes_of(WHOLE)], SET])
@pytest.mark.parametrize(("blocks", "pairs"), [(256, 1), (256, 60), (5, 100)])
def test_tables__are_the_same_to_the_last_bit_however_features_are_cut(
    lake: Lake, codes: Sequence[str], blocks: int, pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.create_mask("again", "NOT is_special")
    name = "three" if len(codes) > 1 else None
    given: dict[str, Any] = {"codes": [*codes] if name else codes[0], "name": name}
    given |= {"examples": EXAMPLES, "tokens": TOKENS}
    statistics = 4 if name else 9  # of a set the rows that are shown are not merged by range
    ranges: list[int] = []
    merged = state_ranges._merged

    def counting(members: Iterable[Iterable[FeatureTokens]]) -> FeatureTokens:
        ranges.append(len(ranges))
        return merged(members)

    monkeypatch.setattr(state_ranges, "_merged", counting)
    summarize(lake, mask=MASK, **given)
    assert len(ranges) == statistics
    monkeypatch.setattr(state_ranges, "BLOCKS", blocks)
    monkeypatch.setattr(state_ranges, "AT_ONCE", pairs)
    monkeypatch.setattr(state_ranges, "HEADS", 2)
    monkeypatch.setattr(summary_tables, "BINS_A_FILE", 20)
    summarize(lake, mask="again", **given)
    assert len(ranges) >= 3 * statistics
    keys = {
        "feature_statistics": ["feature"],
        "feature_histograms": ["feature", "bin"],
        "feature_tokens": ["kind", "feature", "rank"],
        "feature_profiles": ["feature"],
        "feature_examples": ["kind", "feature", "rank"],
    }
    for table, key in keys.items():
        one, other = (rows(lake, table, name or codes[0], mask) for mask in (MASK, "again"))
        assert len(one) >= FEATURES
        told = [each.drop("mask", "run", strict=False).sort(key) for each in (one, other)]
        assert told[0].equals(told[1])


def test_bins__are_removed_where_a_summary_comes_to_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.create_mask("again", "NOT is_special")
    folder = lake.root / "tables/main/feature_histograms"
    before, written = {*folder.glob("*")}, list[set[Path]]()

    def interrupted(*_: object) -> None:
        written.append({*folder.glob("*")} - before)
        raise KeyboardInterrupt

    monkeypatch.setattr(summary_tables, "_columns", interrupted)
    with pytest.raises(KeyboardInterrupt):
        summarize(lake, codes=codes_of(WHOLE), mask="again")
    assert len(*written) == 1
    assert {*folder.glob("*")} == before


def test_memory__is_that_of_a_range_however_many_shards_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, tokens = 8, 4000
    monkeypatch.setattr(state_ranges, "AT_ONCE", 1)  # so that each range is of one feature
    feature, token = np.divmod(np.arange(features * tokens), tokens)
    store = LocalStore(tmp_path)
    (tmp_path / "partials").mkdir()

    def peak(shards: int) -> int:
        random = np.random.default_rng(0)
        partials = {}
        for shard in range(shards):
            seen = np.arange(tokens), np.full(tokens, 3)
            value = random.random(len(token))
            state = FeatureTokens(9, features, feature, token, token % 3 + 1, value, *seen)
            partials["tokens", shard] = write_partial(store, state.arrays())
        one = SimpleNamespace(grid=range(shards))
        lake: Any = SimpleNamespace(store=store)
        merging = Merging(lake, "c", cast(Any, [one]), "m", [partials])
        monkeypatch.setattr(Merging, "n_features", features)
        tracemalloc.start()
        try:
            for first, stop, state in states_by_range(merging, "tokens", FeatureTokens, features):
                assert stop - first == 1
                assert state.n_rows == 9 * shards
                assert (state.count == shards * (token[:tokens] % 3 + 1)).all()
                assert state.seen_count.sum() == 3 * tokens * shards
                assert (state.feature == first).all()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(160) < 1.3 * peak(40)


def test_slices__are_those_of_the_arrays_as_they_were_opened(lake: Lake) -> None:
    store = lake.store
    path, written = write_partial(store, {"a": np.arange(9), "b": np.zeros((1, 2))})
    assert read_partial(store, path, written)["a"].tolist() == [*range(9)]
    slices = open_slices(store, path)
    file = lake.root / path
    content = file.read_bytes()
    file.unlink()
    assert slices("a", 2, 5).tolist() == [2, 3, 4]
    for damaged in (content[:20], b"", content[:-9]):
        file.write_bytes(damaged)
        with pytest.raises(CorruptError, match=r"\(a partial\) has changed .*actlake verify"):
            open_slices(store, path)
    file.unlink()
    with pytest.raises(CorruptError, match="has changed"):
        open_slices(store, path)


@pytest.mark.parametrize("empty", [set[int](), {0, 4, 10}, {*range(11)}])
@pytest.mark.parametrize(("at_once", "blocks"), [(1_000_000, 4096), (7, 4096), (20, 3)])
@pytest.mark.parametrize(
    ("name", "kind", "given"),
    [
        ("histogram", FeatureHistogram, {"keys": CODED}),
        ("tokens", FeatureTokens, {"keys": CODED}),
        ("top_rows", TopRows, {}),
        ("value_rows", BottomRows, {"keys": CODED * BINS, "each": BINS}),
        ("token_rows", BottomRows, {}),
    ],
)
def test_ranges__together_are_the_state_of_all_keys(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kind: Any,
    given: dict[str, int],
    at_once: int,
    blocks: int,
    empty: set[int],
) -> None:
    monkeypatch.setattr(state_ranges, "AT_ONCE", at_once)
    monkeypatch.setattr(state_ranges, "BLOCKS", blocks)
    (tmp_path / "partials").mkdir()
    store, make = LocalStore(tmp_path), statistics_of(2, None)[name]
    states = [make(coded_block(shard, 0.0 if shard in empty else 0.3)) for shard in range(11)]
    partials = {(name, at): write_partial(store, one.arrays()) for at, one in enumerate(states)}
    member: Any = SimpleNamespace(grid=range(len(states)))
    lake: Any = SimpleNamespace(store=store)
    merging = Merging(lake, "c", [member], "m", [partials])
    monkeypatch.setattr(Merging, "n_features", CODED)

    right = merge_wide([kind.from_arrays(one.arrays()) for one in states])
    found = [*states_by_range(merging, name, kind, **given)]
    edges = [start for start, _, _ in found] + [found[-1][1]]
    assert edges == sorted({*edges})
    assert (edges[0], edges[-1] if "keys" in given else None) == (0, given.get("keys"))
    assert all(one % given.get("each", 1) == 0 for one in edges)
    if at_once == 7 and not empty:
        assert len(found) > 2
    for start, stop, state in found:
        key = getattr(state, kind.ENTRIES[0])
        assert ((key >= start) & (key < stop)).all()
    whole = merged_by_range(merging, name, kind)
    for field, of in right.arrays().items():
        np.testing.assert_array_equal(whole.arrays()[field], of)
        assert whole.arrays()[field].dtype == of.dtype
        if field in kind.ENTRIES:
            joined = np.concatenate([state.arrays()[field] for _, _, state in found])
            np.testing.assert_array_equal(joined, of)
        else:
            assert all((state.arrays()[field] == of).all() for _, _, state in found)


def coded_block(shard: int, density: float) -> Block:
    """Rows of a shard on each of which some features fire."""
    rows = 40
    random = np.random.default_rng(shard)
    fires = random.random((rows, CODED)) < density
    values = np.where(fires, random.lognormal(0, 2, (rows, CODED)), 0).astype(np.float32)
    token = random.integers(0, 9, rows).astype(np.int32)
    document = np.full(rows, shard)
    return Block(
        codes=csr_from_dense(values),
        mask=random.random(rows) < 0.9 if density else np.zeros(rows, np.bool_),
        row_start=shard * rows,
        document=document,
        document_rows=np.where(np.arange(rows) == rows - 1, rows, 0),
        position=np.arange(rows, dtype=np.int32),
        token_id=token,
        previous_token=token,
        next_token=token,
        context=shard * rows + np.arange(rows),
        source=None,
    )
