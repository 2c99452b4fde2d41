"""Snapshots: each that is kept answers as it did when it was the newest."""

from contextlib import closing
from pathlib import Path

import pytest

from actlake.flows.delete import delete
from actlake.flows.gc import gc
from actlake.flows.maintain import maintain
from actlake.flows.summarize import summarize
from tests.flows import history
from tests.flows.history import CODES, DICTIONARY, TENSOR


@pytest.mark.slow
def test_at__answers_as_when_it_was_the_newest(tmp_path: Path) -> None:
    """After results that were replaced, deletion, making again, merging, compaction and removal."""
    path = tmp_path / "lake"
    said: dict[int, dict[str, str]] = {}
    with closing(history.build(path)) as lake:

        def remember() -> None:
            number = lake.pin("remembered")
            said[number] = history.answers(lake)

        remember()
        summarize(lake, codes=CODES, examples=3)  # in the place of other examples
        remember()
        maintain(lake, verify_parts=0, expire_days=None, grace_hours=None, backups=1)
        remember()
        delete(lake, kind="dictionary", name=DICTIONARY, cascade=True)
        remember()
        history.analyse(lake, k=2)
        history.write_tensor(lake, "more", history.ROWSET, seed=4)
        remember()
        delete(lake, kind="tensor", name=TENSOR, cascade=True)
        same = len(said) - len({repr(one) for one in said.values()})
        assert same == 1  # upkeep, which changes nothing
        plan = gc(lake, expire_days=0, keep_snapshots=1, grace_hours=0)
        assert plan.snapshots
        assert plan.now
        left = set(lake.snapshots(1000)["snapshot"].to_pylist())
        assert said.keys() <= left
        assert not left & set(plan.snapshots)
        for number, answers in said.items():
            with closing(lake.at(number)) as past:
                assert history.answers(past) == answers
        assert [*lake.verify()] == []
