"""Snapshots: each that is kept answers as it did when it was the newest."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from actlake.flows.delete import delete
from actlake.flows.gc import gc
from actlake.flows.maintain import maintain
from actlake.flows.summarize import summarize
from actlake.flows.withdraw import withdraw
from actlake.storage.errors import NotFoundError
from actlake.storage.lake import Lake
from tests.flows import history
from tests.flows.history import CODES, CORPUS, DICTIONARY, DOCUMENTS, ROWSET, TENSOR, own_word
from tests.flows.places import PLACES, Folder, Place, place_of, with_servers


@pytest.fixture(scope="module", params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    return place_of(request)


@pytest.mark.slow
def test_at__answers_as_when_it_was_the_newest(
    place: Place, history_lake: Path, tmp_path: Path
) -> None:
    """After results that were replaced, deletion, making again, merging, compaction and removal.

    Queries are asked of the first snapshot, behind which all of that happens.
    """
    path = tmp_path / "lake"
    said: dict[int, tuple[bool, dict[str, str]]] = {}
    with closing(Lake.open(place.fork(history_lake, path))) as lake:

        def remember(*, asked: bool = False) -> None:
            number = lake.pin("remembered")
            said[number] = asked, history.answers(lake, asked=asked)

        remember(asked=True)
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
        assert [*lake.verify()] == []
    with closing(Lake.open(place.elsewhere(path, tmp_path / "elsewhere"))) as lake:
        for number, (asked, answers) in said.items():
            with closing(lake.at(number)) as past:
                assert history.answers(past, asked=asked) == answers


@pytest.mark.soak
@pytest.mark.slow
@with_servers
def test_snapshot__answers_other_machines_until_they_withdraw_what_it_held(
    place: Place, tmp_path: Path
) -> None:
    """A few steps of the history, and a withdrawal, for every run."""
    path, last = tmp_path / "lake", DOCUMENTS - 1
    word = own_word(last)  # which statistics would show, as the largest
    with (
        closing(history.begin(place.create(path))) as lake,
        closing(Lake.open(place.elsewhere(path, tmp_path / "elsewhere"))) as other,
    ):
        history.write_tensor(lake, TENSOR, ROWSET)
        kept, said = lake.pin("kept"), history.answers(lake)
        delete(lake, kind="tensor", name=TENSOR, cascade=True)
        history.write_tensor(lake, TENSOR, ROWSET, seed=1)
        gc(lake, expire_days=0, keep_snapshots=1, grace_hours=0)
        with closing(other.at(kept)) as past:
            assert history.answers(past) == said
        old = [one.path for one in lake.store.files(lake.tensor(TENSOR).folder)]
        assert repr(lake.tensor(TENSOR)[:].tobytes()) != said[f"tensor {TENSOR}"]
        assert {one.split("/")[0] for one in place.holding(path, word)} == {place.texts}

        withdraw(other, corpus=CORPUS, documents=[last], reason="asked")

        with pytest.raises(NotFoundError, match=f"snapshot {kept} held document {last}"):
            lake.at(kept)
        empty = lake.rowset(ROWSET).column("document") == last
        assert (np.isnan(lake.tensor(TENSOR)[:]).all(axis=1) == empty).all()
        gc(lake, expire_days=0, keep_snapshots=1, grace_hours=0)  # where there are copies
        assert not any(one.exists() or lake.store.exists(one) for one in old)
        assert place.holding(other.root, word) == Folder().holding(path, word) == []
        assert [*lake.verify()] == []
