"""``python -m tests.soak``: attack lakes for as long as it takes, and print one table.

Each attack is a module of this folder with a function ``soak(folder, random)`` that yields an
``Outcome`` as soon as it has one; the same module's parts, with fewer attempts, are what
``tests/soak/test_*.py`` run in every test run.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import numpy as np

from benchmarks.machine import machine_facts
from tests.soak.outcome import Outcome, markdown, write

ATTACKS: tuple[str, ...] = ("corruption", "crashes", "crowd", "disk", "fuzz", "race")
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"

Soak = Callable[[Path, np.random.Generator], Iterator[Outcome]]


def main() -> None:
    options = _options()
    machine = machine_facts(Path(tempfile.gettempdir())) | {"seed": str(options.seed)}
    outcomes: list[Outcome] = []
    for name in options.only or ATTACKS:
        soak: Soak = import_module(f"tests.soak.{name}").soak
        with tempfile.TemporaryDirectory(prefix=f"actlake-soak-{name}-") as folder:
            started = time.monotonic()
            for one in soak(Path(folder), np.random.default_rng(options.seed)):
                outcomes.append(one)
                print(" | ".join(one.cells()), flush=True)
            print(f"({name}: {time.monotonic() - started:,.0f} s)", flush=True)
        if options.write:  # what is known by now, since the next may take hours
            print(f"written to {write(RESULTS, machine, outcomes)}", flush=True)
    print("\n" + markdown(machine, outcomes))
    sys.exit(not all(one.held for one in outcomes))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--only", action="append", choices=ATTACKS, help="may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="of every random choice (0)")
    parser.add_argument("--write", action="store_true", help="keep it in benchmarks/results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
