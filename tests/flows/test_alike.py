"""Examples of a corpus whose documents all have the same tokens."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from actlake.flows.summarize import summarize
from actlake.storage.lake import Lake
from tests.flows.record_lake import (
    CODES,
    DOCUMENTS,
    FEATURES,
    MASK,
    NOW,
    WORDS,
    by_row,
    shared_record_lake,  # noqa: F401  # a fixture
)


@pytest.mark.slow
def test_examples__show_each_context_once_and_say_how_often_it_comes(
    record_lake: Lake, tmp_path: Path
) -> None:
    lake = Lake.open(shutil.copytree(record_lake.root, tmp_path / "lake"))
    summarize(lake, codes=CODES, mask=MASK, examples=6, tokens=1)
    # Only how near the ends of its document are tells a row from others, from 1 to 20.
    near = [(min(row, 9), min(WORDS + 1 - row, 9)) for row in range(1, WORDS + 1)]
    distinct = sorted(set(near))
    context = np.tile([distinct.index(one) for one in near], DOCUMENTS[NOW])
    alike = np.bincount(context)
    found = lake.table("feature_examples").filter(codes=CODES, mask=MASK).collect()
    values = by_row().reshape(-1, FEATURES)
    for (feature, kind), held in found.group_by("feature", "kind"):
        row = held.sort("rank")["row"].to_numpy()
        mine = row // (WORDS + 1) * WORDS + row % (WORDS + 1) - 1
        assert len(set(context[mine])) == len(mine), (feature, kind)
        assert held.sort("rank")["n_alike"].to_list() == alike[context[mine]].tolist()
        if kind == "top":
            column = values[:, int(str(feature))]
            largest = [column[context == one].max() for one in range(len(distinct))]
            right = np.sort([one for one in largest if one > 0])[::-1][:6]
            assert held.sort("rank")["value"].to_list() == pytest.approx(right.tolist())
    [first] = lake.contexts(CODES, 0, mask=MASK, limit=1)
    assert first.n_alike == alike[context[(first.row // 21) * 20 + first.row % 21 - 1]]
    assert [str(fault) for fault in lake.verify()] == []
