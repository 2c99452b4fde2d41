"""Progress of a flow: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from actlake.flows.visible import visible

__all__ = ["progress", "say"]

LINE_SECONDS = 10.0


def say(text: str) -> None:
    """One line on standard error, where a person or a log sees it; nothing in it is obeyed."""
    print(visible(text), file=sys.stderr, flush=True)


@contextmanager
def progress(label: str, total: int, unit: str = "rows") -> Iterator[Callable[[int], None]]:
    """A function to call with each number of ``unit`` done, out of ``total``.

    Shows how many are done, how many a second, and how long the rest will take; a summary at the
    end stays.
    """
    started = time.monotonic()
    counter = _bar(label, total, unit) if sys.stderr.isatty() else _lines(label, total, unit)
    done = 0
    with counter as show:

        def advance(count: int) -> None:
            nonlocal done
            done += count
            show(done)

        yield advance
    seconds = time.monotonic() - started
    rate = done / seconds if seconds > 0 else 0.0
    say(f"{label}: {done:,} {unit} in {seconds:.1f} s, {rate:,.0f} {unit}/s")


@contextmanager
def _bar(label: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} {task.fields[unit]}"),
        TextColumn("{task.fields[rate]:,.0f} {task.fields[unit]}/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total, unit=unit, rate=0.0)

        def show(done: int) -> None:
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed or 0.0
            bar.update(task, completed=done, rate=speed)

        yield show


@contextmanager
def _lines(label: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    started = shown = time.monotonic()

    def show(done: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= LINE_SECONDS:
            shown = now
            rate = done / (now - started)
            left = (total - done) / rate if rate else float("inf")
            say(f"{label}: {done:,} of {total:,} {unit}, {rate:,.0f} {unit}/s, {left:,.0f} s left")

    yield show
