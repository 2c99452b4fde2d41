"""How a flow's steps are carried out: in this process, or ahead by others, in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from threading import Lock
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from actlake.flows.progress import progress
from actlake.storage.behind import Behind, Between
from actlake.storage.errors import InputError, LakeError
from actlake.storage.threads import default_threads

__all__ = [
    "TURN",
    "Inline",
    "Later",
    "Runner",
    "Step",
    "Threads",
    "Waited",
    "carry_out",
    "finished",
    "in_order",
    "refuse_device_of_one",
    "settled",
]

T = TypeVar("T")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Later(Generic[R]):
    """The end of a step, which another thread may do: it writes what the step has computed."""

    write: Callable[[], R]


Step = Callable[[T], R | Later[R]]
"""One library call over a shard that lasts seconds."""


def finished(result: R | Later[R]) -> R:
    """What a step comes to, written if it is not yet."""
    return result.write() if isinstance(result, Later) else result


class Runner(Protocol):
    """Maps a step over items."""

    elsewhere: ClassVar[bool] = False
    """Whether steps run in other processes."""

    @property
    def threads(self) -> int:
        """Of torch, for each step."""
        return default_threads()

    def map(self, name: str, step: Step[T, R], items: Sequence[T]) -> Generator[R]:
        """What ``step`` comes to for each item, in order, as soon as it is there.

        Once it is closed nothing is under way any more.
        """
        ...


TURN = Lock()
"""Held while a step computes, since torch has every core for one, and a model has one set of
hooks. What a step has made is written without it, as the next one computes."""


class Threads(Runner):
    """Steps compute in the caller's thread, one after the other, and another thread writes.

    In the caller's, since OpenMP has threads for each thread that computes, and where they are more
    than cores they sleep between any two operations: passes in two threads took a third longer.
    """

    def map(self, name: str, step: Step[T, R], items: Sequence[T]) -> Generator[R]:  # noqa: ARG002
        """What ``step`` comes to for each item, in order, as soon as it is there."""
        with ThreadPoolExecutor(1, "write") as pool:

            def submit(item: T) -> Future[R]:
                # Computed here; a step without a Later is at its end by then.
                return pool.submit(finished, step(item))

            yield from in_order(submit, items, ahead=1, settle=settled)


class Inline(Runner):
    """One step after the other in this thread, so that a debugger sees plain Python."""

    def map(self, name: str, step: Step[T, R], items: Sequence[T]) -> Generator[R]:  # noqa: ARG002
        yield from (finished(step(item)) for item in items)


def carry_out(
    runner: Runner,
    name: str,
    step: Step[T, R],
    items: Sequence[T],
    commit: Callable[[Sequence[T], Sequence[R]], object],
    *,
    label: str,
    rows: Callable[[T], int],
) -> None:
    """Do ``step`` for each item and ``commit`` what they come to, in order.

    All that came until a commit was due, see ``Pace``, is in one. Where a step fails, or Ctrl-C
    comes between two commits, what came before it is committed; of a commit that fails, or that
    Ctrl-C breaks off, nothing is. ``label`` and the ``rows`` of an item are for the display.
    Commits are the caller's thread's where steps are: in another one they kept a core from the
    passes beside, whose threads then waited for each other, and cost 10 % more. Where others do
    the steps, several end at once and then none for long, so another thread commits as it is due.
    """
    steps = runner.map(name, step, items)

    def commit_all(done: Sequence[tuple[T, R]]) -> None:
        those, came_to = zip(*done, strict=True)
        commit(those, came_to)
        advance(sum(map(rows, those)))

    commits: Behind[tuple[T, R]] | Between[tuple[T, R]]
    commits = Behind(commit_all) if runner.elsewhere else Between(commit_all)
    with closing(steps), progress(label, sum(map(rows, items))) as advance, closing(commits):
        try:
            for done in zip(items, steps, strict=True):
                commits.give(done)
        except BaseException as error:
            try:
                commits.wait()
            except (LakeError, OSError) as other:  # what stopped the steps is the one to tell
                error.add_note(f"what came before it was not committed: {other}")
            raise
        commits.wait()


def refuse_device_of_one(runner: Runner | None, device: str) -> None:
    """InputError where ``device`` names one by its number, and others are to do the steps."""
    if runner is not None and runner.elsewhere and ":" in device:
        raise InputError(
            f"the device {device} is one for all workers; give its kind alone, as each has its own"
        )


class Waited(Protocol[R_co]):
    """What somebody else computes."""

    def result(self) -> R_co:
        """What it comes to, waited for; raises what the computation raised."""
        ...


def in_order(
    submit: Callable[[T], Waited[R]],
    items: Sequence[T],
    *,
    ahead: int,
    settle: Callable[[Iterable[Any]], object],
    stop: Callable[[], object] = lambda: None,
) -> Generator[R]:
    """What each item comes to, in order, while ``ahead`` others after it are under way.

    Where ``submit`` itself raises, what is under way is yielded first, so that nothing which was
    computed is lost. ``settle`` is told the futures that nobody will take, since one before them
    failed: when it returns, nothing may still write. ``stop``, before it, that Ctrl-C was pressed.
    """
    waiting: deque[Waited[R]] = deque()

    def all_but(last: int) -> Generator[R]:
        while len(waiting) > last:
            result = waiting[0].result()
            waiting.popleft()
            yield result

    try:
        for item in items:
            try:
                submitted = submit(item)
            except Exception:
                yield from all_but(0)
                raise
            waiting.append(submitted)
            yield from all_but(ahead)
        yield from all_but(0)
    except KeyboardInterrupt:
        stop()
        raise
    finally:
        settle(waiting)


def settled(waiting: Iterable[Future[Any]]) -> None:
    """Cancel what has not begun, and wait for the rest."""
    wait([one for one in waiting if not one.cancel()])
