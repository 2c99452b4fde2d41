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
from actlake.storage.errors import CorruptError, DiskError, FormatError, InputError
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
        spool = Spool(folder, "b")
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
        Spool(tmp_path / "x", "b").fill(given_by(sizes, 0, 0, 3))
    again = Spool(tmp_path / "x", "b")
    assert (again.blocks, again.rows) == (3, 9)
    for one in given_by(sizes, again.blocks, again.rows, -1):
        given_blocks.append(one)
    assert [len(one["document"]) for one in given_blocks] == [5]


def test_ended_soon__leaves_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "x", "b")
    with pytest.raises(KeyboardInterrupt):
        spool.fill(given_by([2, 3, 4], 0, 0, 2))
    spool.leave()
    assert not (tmp_path / "x").exists()
    again = Spool(tmp_path / "x", "b")
    assert (again.blocks, again.rows) == (0, 0)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("damage", ["flipped", "cut", "longer", "gone"])
def test_damage__is_done_again_from_there(tmp_path: Path, damage: str) -> None:
    sizes, folder = [2, 3, 4], tmp_path / "x"
    with pytest.raises(KeyboardInterrupt):
        Spool(folder, "b").fill(given_by([*sizes, 1], 0, 0, 3))
    file = folder / Spool(folder, "b")._segments[1].name / "token_id"
    content = file.read_bytes()
    match damage:
        case "flipped":
            file.write_bytes(bytes([content[0] ^ 4]) + content[1:])
        case "cut":
            file.write_bytes(content[:-1])
        case "longer":
            file.write_bytes(content + b"0000")
        case _:
            file.unlink()
    again = Spool(folder, "b")
    assert (again.blocks, again.rows) == (1, 2)
    again.fill(given_by(sizes, again.blocks, again.rows, -1))
    assert again.columns()["position"][0:9].tolist() == [*range(9)]


@given(data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("at_once")
def test_damage_of_the_list__begins_anew(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("spool") / "x"
    with pytest.raises(KeyboardInterrupt):
        Spool(folder, "b").fill(given_by([2, 3, 4, 1], 0, 0, 3))
    whole = (folder / module.LIST).read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut"]))
    rotten = whole[:at] + (bytes([whole[at] ^ 1]) + whole[at + 1 :] if kind == "flip" else b"")
    (folder / module.LIST).write_bytes(rotten)
    assert Spool(folder, "b").rows == 0


@pytest.mark.usefixtures("at_once")
def test_other_basis__begins_anew(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        Spool(tmp_path / "x", "b").fill(given_by([2, 3, 4, 1], 0, 0, 3))
    assert Spool(tmp_path / "x", "c").rows == 0
    assert Spool(tmp_path / "x", "b").rows == 9


def test_link__is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "x").symlink_to(tmp_path / "outside")
    with pytest.raises(FormatError, match="x is a link"):
        Spool(tmp_path / "x", "b")


def test_column__whose_file_is_cut_or_gone_is_told(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "x", "b")
    spool.fill([block(0, 9)])
    [file] = (tmp_path / "x").glob("*/position")
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(CorruptError, match="is not as it was written; run this again"):
        spool.columns()["position"][0:9]
    file.unlink()
    with pytest.raises(CorruptError, match=r"cannot be read .*; run this again"):
        spool.columns()["position"][0:9]


@pytest.mark.usefixtures("at_once")
def test_one_who_lost_its_claim__spoils_nothing(tmp_path: Path) -> None:
    """It wakes and goes on with the same blocks, while another has taken them up."""
    sizes, folder = [2, 3, 4, 5], tmp_path / "x"
    old = Spool(folder, "b")
    asleep = given_by(sizes, 0, 0, -1)
    old.fill([next(asleep)])
    new = Spool(folder, "b")
    new.fill(given_by(sizes, new.blocks, new.rows, -1))
    old.fill(asleep)
    old.leave()
    assert new.columns()["position"][0:14].tolist() == [*range(14)]


@pytest.mark.usefixtures("at_once")
def test_disk_and_bad_blocks__are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="2 values of position came for 3 rows"):
        Spool(tmp_path / "z", "b").fill([block(0, 3) | {"position": np.arange(2)}])

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match=r"cannot be written .*; make room there"):
        Spool(tmp_path / "x", "b").fill([block(0, 3)])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_disk_that_is_full_as_files_are_closed__is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was buffered is written again then, and refused again."""
    monkeypatch.setattr(Path, "open", lambda _path, _mode: open("/dev/full", "wb"))  # noqa: SIM115, PTH123
    with pytest.raises(DiskError, match=r"cannot be written .*; make room there"):
        Spool(tmp_path / "x", "b").fill([block(0, 3)])
