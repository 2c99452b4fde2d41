"""States of features, merged range by range: the same rows as in one piece, to the last bit."""

import tracemalloc
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from actlake.analytics.features.tokens import FeatureTokens
from actlake.flows import state_ranges, summary_tables
from actlake.flows.state_ranges import states_by_range
from actlake.flows.summarize import summarize
from actlake.flows.summary_merging import Merging
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
