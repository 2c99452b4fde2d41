"""Alternating measurements: every side of a case once a round, so that a slow minute slows all.

Times on a shared machine drift by half within minutes, and by that much more between machines.
What two sides did in the same round is comparable; so the result of a case is the median over
rounds of the ratio of each side to the limit, with the smallest and largest ratio seen.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

Side = Callable[[int], float]
"""Does the work of one round, whose number it is given, and returns the seconds that count."""


@dataclass(frozen=True, slots=True)
class Case:
    """The same work done in several ways."""

    name: str
    work: str
    """What is done, with its sizes."""
    limit: str
    """The side that the others are compared with: the least that this work can cost."""
    sides: Mapping[str, Side]
    """In the order in which they run, in each round."""
    targets: Mapping[str, float] = field(default_factory=dict)
    """The largest ratio to the limit that a side is to have."""
    allowed: Mapping[str, float] = field(default_factory=dict)
    """The most seconds that a side is to take on two cores."""
    behind: Mapping[str, float] = field(default_factory=dict)
    """How often our time a peer is to take, at the least."""
    amount: float = 0.0
    """Of what is done, for a rate; 0 where none makes sense."""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """A number that is no ratio of times, such as bytes a posting."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    """The largest value that it is to have."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """One side of a case beside the limit, round by round."""

    case: str
    work: str
    side: str
    limit: str
    seconds: tuple[float, ...]
    limit_seconds: tuple[float, ...]
    our_seconds: tuple[float, ...] = ()
    """Of the first side that is ours; empty where this is it, or none is."""
    target: float | None = None
    allowed: float | None = None
    behind: float | None = None
    amount: float = 0.0
    unit: str = ""

    def ratios(self) -> list[float]:
        """Seconds of the side by seconds of the limit in the same round; above 1 is slower."""
        pairs = zip(self.seconds, self.limit_seconds, strict=True)
        return [ours / limit for ours, limit in pairs]

    def spread(self) -> tuple[float, float, float]:
        """Median, smallest and largest ratio."""
        ratios = self.ratios()
        return statistics.median(ratios), min(ratios), max(ratios)

    def beside_ours(self) -> float | None:
        """Median of how often our time this side takes."""
        if not self.our_seconds:
            return None
        pairs = zip(self.seconds, self.our_seconds, strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)

    def rate(self) -> str:
        """What the side does in a second, and the limit; empty where none makes sense."""
        if not self.amount:
            return ""
        rates = (self.amount / statistics.median(one) for one in (self.seconds, self.limit_seconds))
        return " of ".join(f"{one:,.0f}" for one in rates) + f" {self.unit}/s"


Benchmark = Iterator[Case | Fact]
"""Makes its inputs, yields cases, which are measured before it goes on, and facts."""


def measure(case: Case, rounds: int, *, warm_up: int = 1) -> list[Ratio]:
    """Every side but the limit, measured in ``rounds`` rounds after ``warm_up`` uncounted ones."""
    seconds: dict[str, list[float]] = {side: [] for side in case.sides}
    for number in range(warm_up + rounds):
        for name, side in case.sides.items():
            seconds[name].append(side(number))
    counted = {side: tuple(found[warm_up:]) for side, found in seconds.items()}
    limit = counted.pop(case.limit)
    ours = next((side for side in counted if side.startswith("actlake")), None)
    return [
        Ratio(
            case.name,
            case.work,
            side,
            case.limit,
            found,
            limit,
            our_seconds=counted[ours] if ours not in (None, side) else (),
            target=case.targets.get(side),
            allowed=case.allowed.get(side),
            behind=case.behind.get(side),
            amount=case.amount,
            unit=case.unit,
        )
        for side, found in counted.items()
    ]


def timed(work: Callable[[], object], *, times: int = 1) -> float:
    """Wall seconds of one call of ``work``, called ``times`` times."""
    started = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - started) / times
