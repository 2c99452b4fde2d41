"""Appended rows are the tensor, however they are cut."""

import itertools
import json
import time
from threading import Event
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actlake.storage import Lake, pace, writers
from actlake.storage.errors import (
    BusyError,
    IncompleteError,
    InputError,
    NameTakenError,
    PrecisionError,
)
from actlake.storage.precision import quantize, restore
from actlake.storage.run import Run
from actlake.storage.shards import Receipt
from actlake.storage.tensor_writer import commit_shards
from tests.storage.conftest import content, fresh_name, payloads
from tests.storage.written import ROWS, VALUES, WIDTH, chunks


@settings(max_examples=8)
@given(
    cuts=st.lists(st.integers(0, ROWS), max_size=8).map(sorted),
    dtype=st.sampled_from(["float16", "int8"]),
)
def test_append__gives_the_same_bytes_however_rows_are_cut(
    bench: Lake,
    undisturbed: dict[str, bytes],
    undisturbed_int8: dict[str, bytes],
    cuts: list[int],
    dtype: str,
) -> None:
    name = fresh_name()
    with bench.create_tensor(name, rowset="c@w", width=WIDTH, dtype=dtype) as writer:
        for start, stop in zip([0, *cuts], [*cuts, ROWS], strict=True):
            assert writer.next_row == start
            mine = VALUES[start:stop].copy()
            writer.append(mine)
            mine[:] = 7  # the caller may use its array again
        assert writer.next_row == ROWS
    right = undisturbed_int8 if dtype == "int8" else undisturbed
    assert chunks(payloads(bench, name)) == right
    if dtype == "int8":
        assert np.array_equal(bench.tensor(name)[:], restore(*quantize(VALUES)))
    assert bench.tensor(name).sealed


def test_writer__goes_on_where_it_stopped(bench: Lake, undisturbed: dict[str, bytes]) -> None:
    name = fresh_name()
    for stop in (9, 9, 30, ROWS):
        writer = bench.create_tensor(name, rowset="c@w", width=WIDTH)
        start = writer.next_row
        assert start % 4 == 0
        writer.append(VALUES[start:stop])
        if stop < ROWS:
            with pytest.raises(IncompleteError, match="lacks its last"):
                writer.close()
        else:
            writer.close()
            writer.close()  # again does nothing
    assert chunks(payloads(bench, name)) == undisturbed
    with pytest.raises(InputError, match="is sealed already"):
        bench.create_tensor(name, rowset="c@w", width=WIDTH)


def test_refused_rows__are_not_taken(bench: Lake, undisturbed: dict[str, bytes]) -> None:
    name = fresh_name()
    overflow = VALUES[5:9].copy()
    overflow[-1, -1] = 1e6
    with bench.create_tensor(name, rowset="c@w", width=WIDTH) as writer:
        writer.append(VALUES[:5])
        writer._behind.wait()
        before = content(bench)
        for rows, error, message in (
            (overflow, PrecisionError, "rows 5 to 9: 1 values do not fit float16"),
            (overflow * np.nan, PrecisionError, "NaN or infinite"),
            (VALUES[:, :2], InputError, r"shape \(37, 2\); give \(n, 3\)"),
            (VALUES[0], InputError, r"shape \(3,\); give"),
            (VALUES, InputError, "has 37 rows, and rows up to 42 were appended"),
        ):
            with pytest.raises(error, match=message):
                writer.append(rows)
        assert content(bench) == before
        assert writer.next_row == 5
        writer.append(VALUES[5:])
    assert chunks(payloads(bench, name)) == undisturbed
    with pytest.raises(InputError, match="is closed"):
        writer.append(VALUES[:1])


@pytest.mark.parametrize("failing", [0, 1])
def test_writer__whose_commit_fails_takes_no_more(
    bench: Lake, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    name, numbers, began = fresh_name(), itertools.count(), Event()

    def commit(*given: Any) -> None:
        began.set()
        if next(numbers) == failing:
            raise BusyError("the catalog is busy; run this again")
        commit_shards(*given)

    with monkeypatch.context() as patch:
        patch.setattr(writers, "commit_shards", commit)
        patch.setattr(pace, "PATIENCE", 0)
        writer = bench.create_tensor(name, rowset="c@w", width=WIDTH)
        with pytest.raises(BusyError, match="the catalog is busy"):  # noqa: PT012 - at any of them
            writer.append(VALUES[:5])
            assert began.wait(60)  # else the second shard might be in the first commit
            for start in range(5, ROWS, 5):  # so that some rows wait
                writer.append(VALUES[start : start + 5])
        assert writer.next_row == 4 * failing
        with pytest.raises(InputError, match="is closed; open it again"):
            writer.append(VALUES[4 * failing :])
        with pytest.raises(IncompleteError, match="lacks its last"):
            writer.close()
    with bench.create_tensor(name, rowset="c@w", width=WIDTH) as again:
        assert again.next_row == 4 * failing
        again.append(VALUES[4 * failing :])
    assert chunks(payloads(bench, name)) == undisturbed


@pytest.mark.usefixtures("patient")
def test_writer__tells_as_it_is_closed_of_a_commit_that_was_put_off(
    bench: Lake, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    together: list[set[int]] = []
    committed = Event()

    def commit(run: Run, receipts: list[Receipt], message: str) -> None:
        if together:
            raise BusyError("the catalog is busy; run this again")
        together.append({one.shard for one in receipts})
        commit_shards(run, receipts, message)
        committed.set()

    name = fresh_name()
    with monkeypatch.context() as patch:
        patch.setattr(writers, "commit_shards", commit)
        writer = bench.create_tensor(name, rowset="c@w", width=WIDTH)
        writer.append(VALUES[:4])
        assert committed.wait(60)
        writer.append(VALUES[4:])
        with pytest.raises(BusyError, match="the catalog is busy"):
            writer.close()
    assert together == [{0}]
    with bench.create_tensor(name, rowset="c@w", width=WIDTH) as again:
        assert again.next_row == 4
        again.append(VALUES[4:])
    assert chunks(payloads(bench, name)) == undisturbed


def test_writer__commits_the_last_shard_before_it_seals(
    bench: Lake, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*given: Any) -> None:
        time.sleep(0.05)
        commit_shards(*given)

    name = fresh_name()
    monkeypatch.setattr(writers, "commit_shards", late)
    with bench.create_tensor(name, rowset="c@w", width=WIDTH) as writer:
        writer.append(VALUES)
    assert chunks(payloads(bench, name)) == undisturbed


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("how", ["left by an error", "nobody has it"])
def test_writer__that_is_not_closed_commits_what_was_put_off(
    bench: Lake, undisturbed: dict[str, bytes], how: str
) -> None:
    name = fresh_name()
    if how == "nobody has it":
        writer = bench.create_tensor(name, rowset="c@w", width=WIDTH)
        writer.append(VALUES[:15])
        del writer
    else:
        with (  # noqa: PT012 - the writer is left by the error
            pytest.raises(KeyboardInterrupt),
            bench.create_tensor(name, rowset="c@w", width=WIDTH) as left,
        ):
            left.append(VALUES[:15])
            raise KeyboardInterrupt
    with bench.create_tensor(name, rowset="c@w", width=WIDTH) as again:
        assert again.next_row == 12
        again.append(VALUES[12:])
    assert chunks(payloads(bench, name)) == undisturbed


@pytest.mark.parametrize("fails", [False, True])
def test_writer__that_is_interrupted_waits_for_the_commit_behind(
    bench: Lake, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    def late(*given: Any) -> None:
        time.sleep(0.2)
        if fails:
            raise BusyError("the catalog is busy; run this again")
        commit_shards(*given)

    name = fresh_name()
    with monkeypatch.context() as patch:
        patch.setattr(writers, "commit_shards", late)
        with (  # noqa: PT012 - the writer is left by the error
            pytest.raises(KeyboardInterrupt),
            bench.create_tensor(name, rowset="c@w", width=WIDTH) as writer,
        ):
            writer.append(VALUES[:6])
            raise KeyboardInterrupt
    planned = bench.table("tensors").filter(tensor=name).collect()["state"].to_list()
    assert planned == ([] if fails else ["planned"])
    with bench.create_tensor(name, rowset="c@w", width=WIDTH) as again:
        assert again.next_row == (0 if fails else 4)
        again.append(VALUES[again.next_row :])
    assert chunks(payloads(bench, name)) == undisturbed
    assert [fault for fault in bench.verify() if fault.owner == name] == []


@pytest.mark.parametrize("how", ["overflow", "error", "unsealed", "interrupt"])
def test_writer__that_ends_before_its_first_shard_leaves_no_tensor(bench: Lake, how: str) -> None:
    name = fresh_name()
    before = content(bench)
    errors = {"overflow": PrecisionError, "error": ZeroDivisionError, "unsealed": IncompleteError}
    with (  # noqa: PT012 - the writer is left by the error
        pytest.raises(errors.get(how, KeyboardInterrupt)),
        bench.create_tensor(name, rowset="c@w", width=WIDTH) as writer,
    ):
        writer.append(VALUES[:3])
        if how == "overflow":
            writer.append(VALUES[3:] * 1e6)
        elif how == "error":
            raise ZeroDivisionError
        elif how == "interrupt":
            raise KeyboardInterrupt
    after = content(bench)
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    tables = {key.split("/")[2] for key in changed - {"tables"}}
    # Files of tables that came and went stay, as old snapshots name them; no other file does.
    assert tables <= {"runs", "tensors"}
    assert name not in bench.table("tensors").collect()["tensor"].to_list()
    with bench.create_tensor(name, rowset="c@w", width=WIDTH, dtype="float32") as writer:
        writer.append(VALUES)
    states = "SELECT state FROM runs WHERE parameters = $p ORDER BY run"
    found = bench.sql(states, p=json.dumps({"name": name})).rows()
    assert found == [("failed",), ("completed",)]


def test_bad_tensors__are_refused_before_anything_happens(bench: Lake) -> None:
    before = content(bench)
    for name, options, error in (
        ("t:float16", {"width": 9}, NameTakenError),
        ("t:float16", {"width": 6, "dtype": "float32"}, NameTakenError),
        ("a/b", {}, InputError),
        (fresh_name(), {"rowset": "nope"}, InputError),
        (fresh_name(), {"dtype": "int4"}, InputError),
        (fresh_name(), {"width": 0}, InputError),
    ):
        with pytest.raises(error):
            bench.create_tensor(name, **({"rowset": "c@w", "width": 3} | options))  # type: ignore[arg-type]
    assert content(bench) == before


def test_second_writer__in_the_same_thread_is_refused(bench: Lake) -> None:
    name = fresh_name()
    with bench.create_tensor(name, rowset="c@w", width=WIDTH) as writer:
        with pytest.raises(BusyError, match="this thread is at work"):
            bench.create_tensor(name, rowset="c@w", width=WIDTH)
        writer.append(VALUES)


def test_provenance__is_kept_and_part_of_the_identity(bench: Lake) -> None:
    name = fresh_name()
    with bench.create_tensor(
        name, rowset="c@w", width=WIDTH, provenance={"engine": "vllm", "n": [1]}
    ) as writer:
        writer.append(VALUES)
    assert bench.tensor(name).attributes()["engine"] == "vllm"
    with pytest.raises(NameTakenError):
        bench.create_tensor(name, rowset="c@w", width=WIDTH, provenance={"engine": "other"})
