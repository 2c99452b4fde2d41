"""Spools take up what a run before them left, whole and in order."""

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from actlake.storage import spool as module
from actlake.storage.errors import DiskError, InputError
from actlake.storage.fields import ROW_COLUMNS
from actlake.storage.spool import Spool

Block = dict[str, NDArray[Any]]


def block(start: int, size: int) -> Block:
    values = np.arange(start, start + size)
    return {name: (values % 2 if of == "bool" else values) for name, of in ROW_COLUMNS.items()}


def given_by(sizes: Sequence[int], done: int, rows: int, until: int) -> Iterator[Block]:
    """The blocks of these sizes after the first ``done``, up to a kill before ``until``."""
    assert rows == sum(sizes[:done])
    for number in range(done, len(sizes)):
        if number == until:
            raise KeyboardInterrupt
        yield block(sum(sizes[:number]), sizes[number])


def resumed(folder: Path, sizes: Sequence[int], kills: Sequence[int]) -> Spool:
    for until in (*kills, -1):
        spool = Spool(folder)
        try:
            spool.fill(given_by(sizes, spool.blocks, spool.rows, until))
        except KeyboardInterrupt:
            continue
        return spool
    raise AssertionError


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block is kept as soon as it is there."""
    monkeypatch.setattr(module, "SAVE_SECONDS", -1.0)


@given(
    sizes=st.lists(st.integers(0, 9), max_size=9),
    kills=st.lists(st.integers(0, 9), max_size=4),
    cuts=st.lists(st.integers(0, 60), min_size=2, max_size=2),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("at_once")
def test_columns__are_those_that_came_whatever_was_killed(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], kills: list[int], cuts: list[int]
) -> None:
    spool = resumed(tmp_path_factory.mktemp("spool") / "x", sizes, kills)
    rows = sum(sizes)
    assert (spool.rows, spool.blocks) == (rows, len(sizes))
    right = block(0, rows)
    for name, values in spool.columns().items():
        assert len(values) == rows
        found = values[min(cuts) : max(cuts)]
        assert found.dtype == values.dtype == np.dtype(ROW_COLUMNS[name])
        assert found.tolist() == right[name][min(cuts) : max(cuts)].tolist()


@pytest.mark.usefixtures("at_once")
def test_killed__does_again_what_was_not_kept(tmp_path: Path) -> None:
    sizes, given_blocks = [2, 3, 4, 5], []
    with pytest.raises(KeyboardInterrupt):
        Spool(tmp_path / "x").fill(given_by(sizes, 0, 0, 3))
    again = Spool(tmp_path / "x")
    assert (again.blocks, again.rows, again.is_kept) == (3, 9, True)
    for one in given_by(sizes, again.blocks, again.rows, -1):
        given_blocks.append(one)
    assert [len(one["document"]) for one in given_blocks] == [5]


def test_killed_soon__keeps_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        Spool(tmp_path / "x").fill(given_by([2, 3, 4], 0, 0, 2))
    again = Spool(tmp_path / "x")
    assert (again.blocks, again.rows, again.is_kept) == (0, 0, False)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "list cut", "list odd"])
def test_damage__is_done_again_from_there(tmp_path: Path, damage: str) -> None:
    sizes, folder = [2, 3, 4], tmp_path / "x"
    with pytest.raises(KeyboardInterrupt):
        Spool(folder).fill(given_by([*sizes, 1], 0, 0, 3))
    listed, second = folder / module.LIST, Spool(folder)._segments[1].name
    file = folder / second / "token_id"
    match damage:
        case "flipped":
            file.write_bytes(bytes([file.read_bytes()[0] ^ 4]) + file.read_bytes()[1:])
        case "cut":
            file.write_bytes(file.read_bytes()[:-1])
        case "gone":
            file.unlink()
        case "list cut":
            listed.write_bytes(listed.read_bytes()[:-3])
        case _:
            listed.write_text('[{"name": 7}]')
    again = Spool(folder)
    assert (again.blocks, again.rows) == ((0, 0) if "list" in damage else (1, 2))
    again.fill(given_by(sizes, again.blocks, again.rows, -1))
    assert again.columns()["position"][0:9].tolist() == [*range(9)]


@pytest.mark.usefixtures("at_once")
def test_one_who_lost_its_claim__spoils_nothing(tmp_path: Path) -> None:
    """It wakes and goes on with the same blocks, while another has taken them up."""
    sizes, folder = [2, 3, 4, 5], tmp_path / "x"
    old = Spool(folder)
    asleep = given_by(sizes, 0, 0, -1)
    old.fill([next(asleep)])
    new = Spool(folder)
    new.fill(given_by(sizes, new.blocks, new.rows, -1))
    old.fill(asleep)
    for spool in (old, new):
        assert spool.columns()["position"][0:14].tolist() == [*range(14)]


@pytest.mark.usefixtures("at_once")
def test_disk_and_bad_blocks__are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="2 values of position came for 3 rows"):
        Spool(tmp_path / "z").fill([block(0, 3) | {"position": np.arange(2)}])

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match=r"cannot be written .*; make room there"):
        Spool(tmp_path / "x").fill([block(0, 3)])
