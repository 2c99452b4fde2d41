"""Steps are computed in the caller's thread and written by another, in order, and none is lost."""

from collections.abc import Callable, Generator, Iterable, Sequence
from threading import Event, get_ident
from typing import TypeVar

import pytest

from actlake.flows.runners import (
    Inline,
    Later,
    Runner,
    Step,
    Threads,
    carry_out,
    finished,
    in_order,
)
from actlake.storage import pace
from actlake.storage.errors import BusyError, InputError
from tests.flows.steps import fails_at_3, squared

T = TypeVar("T")
R = TypeVar("R")


def test_threads__compute_here_and_write_in_another_one_at_a_time() -> None:
    here, done = get_ident(), list[str]()
    written = [Event() for _ in range(4)]

    def step(item: int) -> int | Later[int]:
        assert get_ident() == here
        if item > 1:  # what is older than the one before is in nobody's memory
            assert written[item - 2].is_set()
        done.append(f"computed {item}")

        def write() -> int:
            assert get_ident() != here
            done.append(f"written {item}")
            written[item].set()
            return item * item

        return Later(write)

    assert [*Threads().map("square", step, range(4))] == [0, 1, 4, 9]
    assert [one for one in done if one.startswith("w")] == [f"written {n}" for n in range(4)]


def test_threads__of_which_a_write_fails_stop() -> None:
    computed: list[int] = []

    def step(item: int) -> int | Later[int]:
        def fail() -> int:
            raise InputError(f"{item} cannot be written; leave it out")

        computed.append(item)
        return Later(fail)

    with pytest.raises(InputError, match="0 cannot be written"):
        [*Threads().map("fail", step, range(9))]
    assert computed == [0, 1]


def test_threads__of_which_a_step_fails_keep_what_was_computed_before() -> None:
    failed = Event()

    def step(item: int) -> int | Later[int]:
        def write() -> int:
            assert item < 1 or failed.wait(60)  # still being written as the next step fails
            return item

        if item == 2:
            failed.set()
            raise InputError("2 does not fit; leave it out")
        return Later(write)

    kept: list[int] = []
    with pytest.raises(InputError, match="2 does not fit"):
        kept.extend(Threads().map("fail", step, range(9)))
    assert kept == [0, 1]


class Committed:
    """Commits in the caller's thread, and refuses ``failing``."""

    def __init__(self, failing: int | None = None) -> None:
        self.failing = failing
        self.done: list[int] = []
        self.together: list[int] = []
        self.thread = get_ident()

    def __call__(self, items: Sequence[int], results: Sequence[int]) -> None:
        assert get_ident() == self.thread
        if self.failing in items:
            raise InputError(f"{self.failing} cannot be committed; leave it out")
        assert [*results] == [item * item for item in items]
        self.done += items
        self.together.append(len(items))


def carry(
    step: Callable[[int], int],
    commit: Callable[[Sequence[int], Sequence[int]], object],
    runner: Runner | None = None,
) -> None:
    chosen = runner or Threads()
    carry_out(chosen, "carry", step, range(9), commit, label="carry", rows=lambda _: 1)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each commit is due as the last one ends."""
    monkeypatch.setattr(pace, "PATIENCE", 0)


def test_carry_out__commits_in_order_and_all() -> None:
    commit = Committed()
    carry(squared, commit)
    assert commit.done == [*range(9)]


@pytest.mark.usefixtures("patient")
def test_carry_out__commits_together_what_comes_while_none_is_due() -> None:
    commit = Committed()
    carry(squared, commit)
    assert commit.together == [1, 8]


@pytest.mark.usefixtures("at_once")
def test_carry_out__commits_each_that_is_due() -> None:
    commit = Committed()
    carry(squared, commit)
    assert commit.together == [1] * 9


@pytest.mark.usefixtures("at_once")
def test_carry_out__stops_where_a_commit_fails() -> None:
    computed: list[int] = []

    def step(item: int) -> int:
        computed.append(item)
        return item * item

    commit = Committed(failing=2)
    with pytest.raises(InputError, match="2 cannot be committed"):
        carry(step, commit)
    assert commit.done == [0, 1]
    assert computed == [*range(len(computed))]
    assert len(computed) == 4  # the one that failed, and one ahead


def test_carry_out__commits_what_came_before_a_step_that_fails() -> None:
    def step(item: int) -> int:
        if item == 3:
            raise InputError("3 does not fit; leave it out")
        return item * item

    commit = Committed()
    with pytest.raises(InputError, match="3 does not fit"):
        carry(step, commit)
    assert commit.done == [0, 1, 2]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("error", [BusyError("taken over; run it again"), OSError("unknown")])
def test_carry_out__tells_why_a_step_failed_also_where_the_commit_after_it_does(
    error: Exception,
) -> None:
    tried: list[Sequence[int]] = []

    def commit(items: Sequence[int], _results: Sequence[int]) -> None:
        tried.append(items)
        if len(tried) > 1:
            raise error

    with pytest.raises(InputError, match="three is no number") as caught:
        carry(fails_at_3, commit)
    assert tried == [(0,), (1, 2)]
    assert caught.value.__notes__ == [f"what came before it was not committed: {error}"]


@pytest.mark.usefixtures("patient")
def test_carry_out__commits_what_waits_as_ctrl_c_is_pressed() -> None:
    def step(item: int) -> int:
        if item == 5:
            raise KeyboardInterrupt
        return item * item

    commit = Committed()
    with pytest.raises(KeyboardInterrupt):
        carry(step, commit)
    # One was written behind, and nobody took it.
    assert commit.done == [0, 1, 2, 3]
    assert commit.together == [1, 3]


class Bursts(Runner):
    """Other processes, of which the last step ends once those before it are committed."""

    elsewhere = True

    def __init__(self, committed: Event) -> None:
        self.committed = committed

    def map(self, name: str, step: Step[T, R], items: Sequence[T]) -> Generator[R]:
        results = [finished(step(item)) for item in items]
        yield from results[:-1]
        assert self.committed.wait(60)
        yield results[-1]


def test_carry_out__commits_what_workers_have_done_before_the_next_ends() -> None:
    done: list[int] = []
    all_but_one = Event()

    def commit(items: Sequence[int], _results: Sequence[int]) -> None:
        done.extend(items)
        if len(done) == 8:
            all_but_one.set()

    carry(squared, commit, Bursts(all_but_one))
    assert done == [*range(9)]


class Elsewhere(Inline):
    """As other processes do it, for whom another thread commits."""

    elsewhere = True


def test_carry_out__of_workers_commits_what_came_before_a_step_that_fails() -> None:
    done: list[int] = []
    with pytest.raises(InputError, match="three is no number"):
        carry(fails_at_3, lambda items, _results: done.extend(items), Elsewhere())
    assert done == [0, 1, 2]


@pytest.mark.parametrize("failing", [0, 3, 8])
def test_carry_out__of_workers_tells_which_commit_failed(failing: int) -> None:
    done: list[int] = []

    def commit(items: Sequence[int], _results: Sequence[int]) -> None:
        if failing in items:
            raise InputError(f"{failing} cannot be committed; leave it out")
        done.extend(items)

    with pytest.raises(InputError, match=f"{failing} cannot be committed"):
        carry(squared, commit, Elsewhere())
    assert done == [*range(len(done))]
    assert len(done) <= failing


def test_ctrl_c__stops_what_computes() -> None:
    class Pressed:
        def __init__(self, _number: int) -> None: ...

        def result(self) -> int:
            raise KeyboardInterrupt

    told: list[str] = []
    steps = in_order(
        Pressed,
        range(9),
        ahead=2,
        settle=lambda waiting: told.append(f"{len([*waiting])} settled"),
        stop=lambda: told.append("stopped"),
    )
    with pytest.raises(KeyboardInterrupt):
        next(steps)
    assert told == ["stopped", "3 settled"]


def test_failure__waits_for_what_is_under_way() -> None:
    class Done:
        def __init__(self, number: int) -> None:
            self.number = number

        def result(self) -> int:
            return fails_at_3(self.number)

    settled: list[int] = []

    def settle(waiting: Iterable[Done]) -> None:
        settled.extend(one.number for one in waiting)

    with pytest.raises(InputError):
        [*in_order(Done, range(9), ahead=2, settle=settle)]
    assert settled == [3, 4, 5]
