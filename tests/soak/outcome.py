"""What an attack on a lake came to, and the table that a soak run prints and keeps."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

HEADER = ("attack", "attempts", "survived", "lost", "detected", "what was seen")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row of the table: so many attempts of one kind, and how they ended."""

    attack: str
    """What was done to the lake, such as `SIGKILL of extract at a random moment`."""
    attempts: int
    survived: int
    """Attempts after which everything that was promised still held."""
    lost: int
    """Rows, commits or files that were lost, doubled or altered unnoticed; 0 is the promise."""
    detected: int | None = None
    """Attempts that did damage files and were found; None where nothing is there to detect."""
    seen: str = ""
    """Figures: rates, percentiles, seconds."""

    @property
    def held(self) -> bool:
        return (
            self.survived == self.attempts
            and self.lost == 0
            and self.detected in (None, self.attempts)
        )

    def cells(self) -> tuple[str, ...]:
        detected = "" if self.detected is None else f"{self.detected:,}"
        numbers = (f"{self.attempts:,}", f"{self.survived:,}", f"{self.lost:,}")
        return self.attack, *numbers, detected, self.seen


def markdown(machine: Mapping[str, str], outcomes: Iterable[Outcome]) -> str:
    """A page with the machine and the table."""
    lines = ["# Soak", "", "What was done to lakes, and what came of it.", ""]
    lines += [f"- {name}: {value}" for name, value in machine.items()]
    lines += ["", f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}"]
    lines += [f"| {' | '.join(one.cells())} |" for one in outcomes]
    return "\n".join(lines) + "\n"


def write(folder: Path, machine: Mapping[str, str], outcomes: Iterable[Outcome]) -> Path:
    """The page, in ``folder``, named after the day."""
    stamp = machine["date"].removesuffix(" UTC").replace(" ", "-").replace(":", "")
    path = folder / f"soak-{stamp}.md"
    path.write_text(markdown(machine, outcomes))
    return path
