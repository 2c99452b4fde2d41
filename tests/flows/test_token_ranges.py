"""Tokens of features, merged range by range: the same rows as in one piece, to the last bit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from actlake.analytics.features.tokens import FeatureTokens
from actlake.flows import token_ranges
from actlake.flows.summarize import summarize
from actlake.storage.durable import Digest
from actlake.storage.errors import CorruptError
from actlake.storage.lake import Lake
from actlake.storage.partials import read_partial, read_slices
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
    given: dict[str, Any] = {
        "codes": [*codes] if name else codes[0],
        "name": name,
        "examples": EXAMPLES,
        "tokens": TOKENS,
    }
    summarize(lake, mask=MASK, **given)
    seen: list[int] = []
    merged = token_ranges._merged

    def counting(parts: list[list[FeatureTokens]]) -> FeatureTokens:
        seen.append(len(parts))
        return merged(parts)

    monkeypatch.setattr(token_ranges, "BLOCKS", blocks)
    monkeypatch.setattr(token_ranges, "PAIRS", pairs)
    monkeypatch.setattr(token_ranges, "SEEN", 2)
    monkeypatch.setattr(token_ranges, "_merged", counting)
    summarize(lake, mask="again", **given)
    assert 6 <= len(seen) <= 3 * FEATURES  # two ranges at least of each of three statistics
    for table in ("feature_tokens", "feature_profiles", "feature_examples"):
        one, other = (rows(lake, table, name or codes[0], mask) for mask in (MASK, "again"))
        assert len(one) >= FEATURES
        told = [each.drop("mask", "run", strict=False) for each in (one, other)]
        assert told[0].equals(told[1])


def test_ranges__hold_every_block_once_and_no_more_pairs_than_they_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(token_ranges, "PAIRS", 10)
    pairs = np.array([4, 6, 1, 30, 0, 5, 5, 1])
    assert token_ranges._ranges(pairs) == [(0, 2), (2, 3), (3, 4), (4, 7), (7, 8)]
    assert token_ranges._ranges(np.zeros(3, np.int64)) == [(0, 3)]


def test_slices__are_those_of_the_arrays_and_of_a_damaged_file_are_refused(lake: Lake) -> None:
    summarize(lake, codes=SET[0], mask=MASK)
    query = "SELECT path FROM partials WHERE statistic = 'tokens' ORDER BY shard LIMIT 1"
    [(path,)] = lake.sql(query).rows()
    found = read_slices(lake.store, str(path), {"count": slice(2, 5), "seen_token": slice(0, 1)})
    query = "SELECT bytes, xxh3_128 FROM partials WHERE path = $path"
    [row] = lake.sql(query, path=str(path)).arrow().to_pylist()
    whole = read_partial(lake.store, str(path), Digest(row["bytes"], row["xxh3_128"]))
    assert found["count"].tolist() == whole["count"][2:5].tolist()
    assert found["seen_token"].tolist() == whole["seen_token"][:1].tolist()
    file = lake.root / str(path)
    content = file.read_bytes()
    for damaged in (content[:20], b"", content[:-9]):
        file.write_bytes(damaged)
        with pytest.raises(CorruptError, match=r"\(a partial\) has changed .*actlake verify"):
            read_slices(lake.store, str(path), {"count": slice(2, 5)})
