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


def _target(ratio: Ratio) -> str:
    if ratio.allowed is not None:
        took = statistics.median(ratio.seconds)
        met = "met" if took <= ratio.allowed else "missed"
        return f"{took:.3g} s ≤ {ratio.allowed:g} s {met}"
    if ratio.target is None:
        return ""
    met = "met" if ratio.spread()[0] <= ratio.target else "missed"
    return f"≤ {ratio.target:.2f} {met}"


def _ours(ratio: Ratio) -> str:
    beside = ratio.beside_ours()
    return "" if beside is None else f"{beside:.2f} × actlake"


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
        lines += ["", "| number | value |", "|---|---|"]
        lines += [f"| {fact.name} | {fact.value:.2f} {fact.unit} |" for fact in facts]
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
