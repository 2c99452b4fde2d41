"""withdraw: what a document said is nowhere, at no snapshot, whatever pinned it."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actlake.flows import export as export_module
from actlake.flows.delete import delete
from actlake.flows.encode import encode
from actlake.flows.export import export
from actlake.flows.gc import gc
from actlake.flows.maintain import maintain
from actlake.flows.summarize import summarize
from actlake.flows.withdraw import withdraw
from actlake.storage import claims
from actlake.storage.backup import back_up, backups
from actlake.storage.catalog import Catalog
from actlake.storage.errors import BusyError, InputError, NotFoundError
from actlake.storage.fields import TABLES
from actlake.storage.lake import Lake
from tests.flows import history
from tests.flows.history import CODES, CORPUS, POOLED, ROWSET, TENSOR, WHOLE, own_word
from tests.flows.places import PLACES, Place, place_of
from tests.forked import child

GONE = 5


@pytest.fixture(scope="module", params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    return place_of(request)


@pytest.fixture
def lake(place: Place, history_lake: Path, tmp_path: Path) -> Iterator[Lake]:
    # Nothing in a path is a column, as it would be of a table that is cut by folders.
    with closing(Lake.open(place.fork(history_lake, tmp_path / "corpus=other" / "lake"))) as lake:
        yield lake


def rows_of(lake: Lake, rowset: str) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    return np.flatnonzero(lake.rowset(rowset).column("document") == GONE)


def test_withdraw__leaves_row_numbers_and_nothing_else(lake: Lake, place: Place) -> None:
    before = {name: lake.tensor(name)[:] for name in (TENSOR, POOLED)}
    block, others = lake.codes(CODES)[:].dense(), own_word(GONE + 1)
    tokens = lake.table("tokens").collect()
    held = place.holding(lake.root, own_word(GONE))
    assert {one.split("/")[0] for one in held} == {place.texts}
    assert any(
        own_word(GONE) in one.text for feature in range(8) for one in lake.contexts(CODES, feature)
    )

    done = withdraw(lake, corpus=CORPUS, documents=["id5"], reason="asked", source_ids=True)

    assert done.documents == {GONE: "id5"}
    assert place.holding(lake.root, own_word(GONE)) == []
    assert place.holding(lake.root, own_word(GONE + 1))
    assert [*lake.verify()] == []
    for name, values in before.items():
        rows, tensor = rows_of(lake, lake.tensor(name).rowset.name), lake.tensor(name)
        kept = np.setdiff1d(np.arange(len(tensor)), rows)
        assert len(rows)
        assert np.isnan(tensor[:][rows]).all()
        assert np.isnan(tensor.rows(rows)).all()
        assert (tensor[:][kept] == values[kept]).all()
        if tensor.stored_dtype == "int8":  # the whole numbers, whose scale is gone, tell much
            shards, places = np.divmod(rows, tensor.grid.shard_rows)
            for shard, at in zip(shards.tolist(), places, strict=True):
                stored = tensor.stored(shard)
                assert not stored["rows"][at].any()
                assert np.isnan(stored["scale"][at])
        drawn = np.concatenate([*tensor.batches(16, seed=0)])
        assert drawn.shape == values[kept].shape
        assert np.isfinite(drawn).all()
    rows = rows_of(lake, ROWSET)
    block[rows] = 0
    codes = lake.codes(CODES)
    assert (codes[:].dense() == block).all()
    assert not set(codes.scan().collect()["row"]) & set(rows.tolist())
    for feature in range(codes.n_features):
        fired = np.flatnonzero(block[:, feature])
        assert codes.postings(feature)["row"].to_list() == fired.tolist()
        assert not any(one.document == GONE for one in lake.contexts(CODES, feature))
    gone = "SELECT count(*), max(coalesce(length(text), 0)) FROM"
    [(count, longest)] = lake.sql(f"{gone} tokens_text WHERE document = 5").rows()
    assert (count, longest) == (len(rows) + 1, 0)
    [(count, longest)] = lake.sql(f"{gone} documents WHERE document = 5").rows()
    assert (count, longest) == (1, 0)
    assert [*lake.sql("SELECT 1 FROM labels WHERE document = 5").rows()] == []
    assert len(lake.table("tokens").collect()) == len(tokens)
    said = lake.sql("SELECT text FROM documents WHERE document = 6").rows()
    assert others in str(next(iter(said))[0])
    for mask in ("all", "no_special"):
        kept_rows = lake.mask_rows(lake.mask(mask), codes.rowset, 0, len(codes))
        assert not kept_rows[rows].any()
        assert kept_rows.any()


def test_withdraw__records_why_what_went_and_what_is_stale(lake: Lake) -> None:
    done = withdraw(lake, corpus=CORPUS, documents=[GONE, 7], reason="asked twice")
    first, second = lake.table("withdrawals").collect().rows(named=True)
    assert (first["document"], first["source_id"], second["document"]) == (GONE, "id5", 7)
    assert {first["reason"], second["reason"]} == {"asked twice"}
    assert first["purged"] >= first["at"]
    removed, stale = json.loads(first["removed"]), json.loads(first["stale"])
    assert done.withdrawal is not None
    assert (done.withdrawal.removed, done.withdrawal.stale) == (removed, stale)
    assert removed["documents"] == 2
    assert removed["labels"] == 8  # two of the document, a span, and a label without one
    rowset = lake.rowset(ROWSET).column("document")
    assert removed["tokens"] == np.isin(rowset, (GONE, 7)).sum() + 2
    assert removed["summaries"] == [f"{CODES} under all"]
    [(run, statement)] = lake.sql("SELECT run, statement FROM hypotheses").rows()
    assert str(statement).endswith("feature 1, which say “…”, “…”")
    assert stale == {
        "dictionaries": ["d"],
        "evaluations": ["d on t"],
        "hypotheses": [f"year in {CODES} by run {run}"],
    }
    shown = lake.table("hypothesis_exemplars").collect()
    assert shown["document"].to_list() == [6]
    assert len(lake.table("hypothesis_phrases").collect()) == 0
    assert own_word(GONE) not in repr((first, second))
    # What was counted over it is made again, over the rest.
    statistics = lake.table("feature_statistics")
    assert len(statistics.collect()) == 0
    summarize(lake, codes=CODES)
    kept = len(rowset) - np.isin(rowset, (GONE, 7)).sum()
    assert set(statistics.collect()["n_rows"]) == {kept}
    delete(lake, kind="codes", name=CODES, cascade=True)
    encode(lake, dictionary="d", codes=CODES)
    block = lake.codes(CODES)[:]
    assert (np.diff(block.indptr)[np.isin(rowset, (GONE, 7))] == 0).all()
    assert block.nnz
    assert [*lake.verify()] == []


def test_withdraw__overrides_snapshots_pins_and_backups(
    lake: Lake, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "_draw", lambda *_: {})  # pictures hold no words
    lake.at(3).pin("from before")
    export(lake, tmp_path / "out")
    exported = lake.newest_snapshot()
    lake.create_mask("some", "position > 1")
    pinned = lake.pin("for ever")
    lake.create_mask("others", "position > 2")
    kept = {exported, pinned}
    if place.backs_up:
        kept.add(back_up(lake.root, lake._catalog, lake._claims, keep=3).snapshot)
    assert len(kept) == 2 + place.backs_up
    gc(lake, expire_days=0, keep_snapshots=1, grace_hours=0)
    for number in kept:
        assert own_word(GONE) in repr(lake.at(number).table("documents").collect().rows())
    maintain(lake, verify_parts=0, expire_days=None, grace_hours=None, backups=0)
    done = withdraw(lake, corpus=CORPUS, documents=[GONE], reason="asked")
    assert done.exports == [f"{socket.gethostname()}:{tmp_path / 'out'}"]
    last = lake.table("withdrawals").collect()["last_snapshot"][0]
    for number in (*kept, last):
        with pytest.raises(NotFoundError, match=f"snapshot {number} held document 5"):
            lake.at(number)
    with closing(lake.at(3)) as empty:  # from before it was there
        assert len(empty.table("documents").collect()) == 0
    assert place.holding(lake.root, own_word(GONE)) == []
    backed_up = [one.snapshot for one in backups(lake.root)]
    assert len(backed_up) == place.backs_up
    assert all(number > last for number in backed_up)
    pins = [(number, f"backup {number}") for number in backed_up]
    assert lake._claims.pins() == [(3, "from before"), *pins]
    with closing(lake.at(last + 1)) as later:
        said = history.answers(later)
    now = history.answers(lake, asked=False)
    assert {name for name in now if now[name] != said[name]} <= {"withdrawals"}


def test_withdraw__refuses_what_it_cannot_do_and_leaves_the_lake(lake: Lake, place: Place) -> None:
    before = lake.newest_snapshot()
    for documents, ids, message in (
        ([99], False, "no document of corpus c has the number 99"),
        (["id99"], True, "no document of corpus c has the source id 'id99'"),
    ):
        with pytest.raises(NotFoundError, match=message):
            withdraw(lake, corpus=CORPUS, documents=documents, reason="x", source_ids=ids)
    with pytest.raises(NotFoundError, match="no corpus 'x'"):
        withdraw(lake, corpus="x", documents=[1], reason="x")
    with pytest.raises(InputError, match="needs a reason"):
        withdraw(lake, corpus=CORPUS, documents=[1], reason=" ")
    assert lake.newest_snapshot() == before
    with (
        lake.run("test", {"at": "work"}, {}) as other,
        pytest.raises(BusyError, match=rf"run {other.run} \(test\) is at work"),
    ):
        withdraw(lake, corpus=CORPUS, documents=[GONE], reason="asked")
    assert place.holding(lake.root, own_word(GONE))
    assert [*lake.verify()] == []


def withdraw_until(path: Path, commit: int, when: str) -> None:
    """Withdraw the document, and be killed before or after that commit."""
    made, left = Catalog.commit, commit

    def counting(*given: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if not left and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = made(*given, **named)
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    Catalog.commit = counting  # type: ignore[method-assign]
    withdraw(Lake.open(path), corpus=CORPUS, documents=[GONE], reason="asked")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("commit", "when"),
    [
        pytest.param(2, "after", id="before its names are known"),
        pytest.param(3, "before", id="before snapshots go", marks=pytest.mark.soak),
        pytest.param(4, "before", id="before files go"),
    ],
)
def test_withdraw__killed_is_finished_by_the_next(
    commit: int, when: str, place: Place, history_lake: Path, tmp_path: Path
) -> None:
    path = place.fork(history_lake, tmp_path / "lake")
    killed = child(withdraw_until, path, commit, when)
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    with closing(Lake.open(path)) as lake:
        # From its commit on, nobody reads it.
        [last] = lake.table("withdrawals").collect()["last_snapshot"]
        assert lake.rowset(WHOLE).withdrawn == (GONE,)
        with pytest.raises(NotFoundError, match="held document 5"):
            lake.at(int(last))
        withdraw(lake, corpus=CORPUS, documents=[GONE], reason="asked")
        assert place.holding(path, own_word(GONE)) == []
        assert [*lake.verify()] == []
        assert lake.table("withdrawals").collect()["purged"].null_count() == 0


def test_withdraw__ends_a_run_that_is_only_asleep(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which would wake and commit files that are gone."""
    monkeypatch.setattr(claims, "HEARTBEAT_SECONDS", 3600.0)  # or it wakes during the withdrawal
    with ExitStack() as stack:
        # Also for what the run would write of its own end.
        stack.enter_context(pytest.raises(BusyError, match="took over"))
        asleep = stack.enter_context(lake.run("test", {"n": 1}, {}))
        lake._claims._touch([asleep.claim], 0.0)
        with closing(Lake.open(lake.root)) as other:
            withdraw(other, corpus=CORPUS, documents=[GONE], reason="asked")
        asleep.commit(lambda _: None, "woken")


def test_withdraw__is_of_one_corpus_not_of_its_name(lake: Lake) -> None:
    withdraw(lake, corpus=CORPUS, documents=[GONE], reason="asked")
    delete(lake, kind="corpus", name=CORPUS, cascade=True)
    lake.create_corpus(CORPUS, history.documents()[:8])
    rowset = lake.create_rowset("r", corpus=CORPUS, columns={"document": np.arange(8)})
    assert rowset.withdrawn == ()
    assert rowset.present(0, 8).all()
    assert len(lake.table("withdrawals").collect()) == 1
    assert set(TABLES) >= {"withdrawals"}
