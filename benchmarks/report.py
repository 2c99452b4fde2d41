"""Results as a table to read, as Markdown to keep, and as JSON to compare."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.measure import Fact, Ratio


def ratio_line(ratio: Ratio) -> str:
    """One line of the table: how often the limit's time a side takes, and its spread."""
    median, low, high = ratio.spread()
    more = [f"({low:.2f} – {high:.2f})", ratio.rate(), _target(ratio), _ours(ratio)]
    return f"  {ratio.side:<45} {median:7.2f} ×  {'  '.join(filter(None, more))}"


def fact_line(fact: Fact) -> str:
    """One line below the table, of a number that is no ratio."""
    return f"  {fact.name:<45} {fact.value:7.2f} {fact.unit}  {_largest(fact)}".rstrip()


def _target(ratio: Ratio) -> str:
    found = []
    if ratio.allowed is not None:
        took = statistics.median(ratio.seconds)
        found.append(f"{took:.3g} s ≤ {ratio.allowed:.3g} s {met(took <= ratio.allowed)}")
    if ratio.target is not None:
        found.append(f"≤ {ratio.target:.2f} {met(ratio.spread()[0] <= ratio.target)}")
    return ", ".join(found)


def _ours(ratio: Ratio) -> str:
    beside = ratio.beside_ours()
    if beside is None:
        return ""
    found = f"{beside:.2f} × actlake"
    if ratio.behind is not None:
        found += f", ≥ {ratio.behind:.2f} {met(beside >= ratio.behind)}"
    return found


def _largest(fact: Fact) -> str:
    if fact.at_most is None:
        return ""
    return f"≤ {fact.at_most:.2f} {met(fact.value <= fact.at_most)}"


def met(is_so: bool) -> str:
    """Of a target, in a word."""
    return "met" if is_so else "missed"


def markdown(machine: Mapping[str, str], ratios: Sequence[Ratio], facts: Sequence[Fact]) -> str:
    """A page with the machine, every ratio with its spread, and the other numbers."""
    lines = ["# Benchmarks", "", "Ratios of wall time; 1 is the limit, 2 takes twice as long.", ""]
    lines += [f"- {name}: {value}" for name, value in machine.items()]
    header = ("case", "side", "against", "median", "min", "max", "target", "beside ours", "rate")
    lines += ["", f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for ratio in ratios:
        spread = " | ".join(f"{one:.2f}" for one in ratio.spread())
        more = f"{_target(ratio)} | {_ours(ratio)} | {ratio.rate()}"
        case = f"{ratio.case}: {ratio.work}"
        lines.append(f"| {case} | {ratio.side} | {ratio.limit} | {spread} | {more} |")
    if facts:
        lines += ["", "| number | value | target |", "|---|---|---|"]
        lines += [f"| {one.name} | {one.value:.2f} {one.unit} | {_largest(one)} |" for one in facts]
    return "\n".join(lines) + "\n"


def write_page(folder: Path, kind: str, machine: Mapping[str, str], lines: Sequence[str]) -> None:
    """A page of its own kind, named by it and the time: the machine, then ``lines``."""
    about = [f"- {name}: {value}" for name, value in machine.items()]
    page = [f"# {kind.capitalize()}", "", *about, *lines]
    (folder / f"{kind}-{_stamp(machine)}.md").write_text("\n".join(page) + "\n")


def _stamp(machine: Mapping[str, str]) -> str:
    return machine["date"].removesuffix(" UTC").replace(" ", "-").replace(":", "")


def write(
    folder: Path, machine: Mapping[str, str], ratios: Sequence[Ratio], facts: Sequence[Fact]
) -> Path:
    """The Markdown file, written beside a JSON file with the seconds of every round."""
    stamp = _stamp(machine)
    content = {
        "machine": dict(machine),
        "ratios": [
            asdict(one) | dict(zip(("median", "min", "max"), one.spread(), strict=True))
            for one in ratios
        ],
        "facts": [asdict(one) for one in facts],
    }
    (folder / f"{stamp}.json").write_text(json.dumps(content, indent=1) + "\n")
    path = folder / f"{stamp}.md"
    path.write_text(markdown(machine, ratios, facts))
    return path
