"""A state machine over a real lake, and what the lake must be: a dict of rows by tensor's name.

A crash is an exception that is raised where a step of the commit protocol begins, and a lake that
is opened anew, as by another process. Crashes by SIGKILL are elsewhere.
"""

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from numpy.typing import NDArray

from actlake.flows.delete import delete
from actlake.flows.gc import gc
from actlake.flows.maintain import maintain
from actlake.storage import Document, Lake
from actlake.storage.csr import csr_from_dense
from actlake.storage.dictionary_files import write_dictionary
from actlake.storage.errors import IncompleteError, NotFoundError
from tests.storage.conftest import codes_plan, write_codes

NAMES = ("a", "b", "c")
ROWS, WIDTH = 8, 2  # a grid of eight shards of one row
STEPS = {
    "write": "actlake.storage.durable:_write_all",
    "stage": "actlake.storage.catalog:Catalog.stage",
    "register": "actlake.storage.transaction:Transaction.register",
    "hashes": "actlake.storage.claims:Claims.record_files",
    "commit": "actlake.storage.transaction:Transaction.commit",
}
"""Where a crash may happen: before a file, a stage, a registration, the hashes, after a commit."""


Held = dict[str, NDArray[np.float32]]
"""Rows, or codes, by the name of the tensor."""


class Crash(BaseException):
    """The process is gone."""


@contextmanager
def crash(step: str, call: int) -> Iterator[None]:
    """While open, the process dies at the ``call``-th call of a step; the crash ends here."""
    owner, _, name = STEPS[step].rpartition("." if "." in STEPS[step].partition(":")[2] else ":")
    place = resolve_name(owner)
    original, calls = getattr(place, name), 0

    def fatal(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        result = original(*args, **kwargs) if calls != call or step == "commit" else None
        if calls == call:
            raise Crash
        return result

    setattr(place, name, fatal)
    try:
        yield
    except Crash:
        pass
    finally:
        setattr(place, name, original)


@cache
def prepared() -> Path:
    """A lake with a corpus and its rows, which every run of the machine begins with a copy of."""
    folder = tempfile.mkdtemp(prefix="actlake-machine-")
    atexit.register(shutil.rmtree, folder)
    root = Path(folder) / "lake"
    lake = Lake.create(root)
    lake.create_corpus("c", [Document(str(i), f"text {i}") for i in range(ROWS)])
    lake.create_rowset("c@r", corpus="c", columns={"document": np.arange(ROWS)}, kind="document")
    lake.close()
    return root


class LakeMachine(RuleBasedStateMachine):
    """Every rule does one thing to the lake and the same to ``held``; then both are compared."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="actlake-machine-"))
        self.lake = Lake.open(shutil.copytree(prepared(), self.folder / "lake"))
        self.held: dict[str, NDArray[np.float32]] = {}
        """Rows of each tensor, complete or not: as many as are committed."""
        self.meant: dict[str, NDArray[np.float32]] = {}
        """All rows of each tensor that was begun."""
        self.coded: dict[str, NDArray[np.float32]] = {}
        """The dense codes of each tensor that has some."""
        self.past: dict[int, tuple[Held, Held]] = {}
        self.made = 0

    def teardown(self) -> None:
        if hasattr(self, "lake"):
            assert [*self.lake.verify()] == []
            self.lake.close()
            shutil.rmtree(self.folder)

    @rule(name=st.sampled_from(NAMES), rows=st.integers(0, ROWS))
    def append(self, name: str, rows: int) -> None:
        """Begin a tensor, or go on with it, by so many rows; complete ones are left alone."""
        if len(self.held.get(name, ())) < ROWS:
            self._append(name, rows)
            kept = min(ROWS, len(self.held.get(name, ())) + rows)
            self._holds(name, kept)

    @rule(
        name=st.sampled_from(NAMES),
        rows=st.integers(1, ROWS),
        step=st.sampled_from(sorted(STEPS)),
        call=st.integers(1, 8),
    )
    def append_and_crash(self, name: str, rows: int, step: str, call: int) -> None:
        """What is there afterwards is the beginning of what was meant, and no less than before."""
        before = len(self.held.get(name, ()))
        if before == ROWS:
            return
        with crash(step, call):
            self._append(name, rows)
        self._open_anew()
        kept = self._committed(name)
        assert before <= kept <= before + rows
        self._holds(name, kept)

    @rule(name=st.sampled_from(NAMES))
    def encode(self, name: str) -> None:
        """Give a complete tensor a dictionary and codes, of which each shard has its postings."""
        rows = self.held.get(name, ())
        if len(rows) < ROWS or name in self.coded:
            return
        block = np.array(rows) % 3  # so that some features are silent on some rows
        rowset = self.lake.rowset("c@r")
        plan = codes_plan(f"codes-{name}", rowset, features=WIDTH)
        plan = replace(plan, dictionary=f"d-{name}", tensor=name)
        with self.lake.run("encode", {"name": name, "made": self.made}, {}) as run:
            arrays = {"decoder": np.eye(WIDTH, dtype=np.float32)}
            write_dictionary(
                run,
                name=plan.dictionary,
                method="identity",
                tensor=name,
                n_features=WIDTH,
                width=WIDTH,
                config={},
                arrays=arrays,
                fingerprint=f"{name} {self.made}",
                tables={},
            )
            write_codes(run, plan, csr_from_dense(block, dtype="float16"))
        self.coded[name] = block

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        if name in self.held:
            delete(self.lake, kind="tensor", name=name, cascade=name in self.coded)
            self._holds(name, 0)

    @rule(name=st.sampled_from(NAMES), step=st.sampled_from(sorted(STEPS)))
    def delete_and_crash(self, name: str, step: str) -> None:
        if name in self.held:
            with crash(step, 2):
                delete(self.lake, kind="tensor", name=name, cascade=name in self.coded)
            self._open_anew()
            kept = self._committed(name)
            assert kept in (0, len(self.held[name]))
            self._holds(name, kept)

    @rule()
    def tidy(self) -> None:
        nothing: dict[str, Any] = {"expire_days": None, "grace_hours": None, "backups": 0}
        maintain(self.lake, verify_parts=0, compact=True, merge=True, **nothing)

    @rule(keep=st.integers(1, 8))
    def forget(self, keep: int) -> None:
        gc(self.lake, expire_days=0, keep_snapshots=keep, grace_hours=0)

    @rule()
    def open_anew(self) -> None:
        self._open_anew()

    @invariant()
    def holds_what_it_should(self) -> None:
        if hasattr(self, "lake"):
            self._compare(self.lake, self.held, self.coded)
            self.past[self.lake.newest_snapshot()] = dict(self.held), dict(self.coded)

    @rule(which=st.integers(0, 100))
    def look_back(self, which: int) -> None:
        """A snapshot shows what there was, unless it was forgotten."""
        if self.past:
            snapshot = sorted(self.past)[which % len(self.past)]
            try:
                earlier = self.lake.at(snapshot)
            except NotFoundError:
                del self.past[snapshot]
                return
            self._compare(earlier, *self.past[snapshot])
            earlier.close()

    def _append(self, name: str, rows: int) -> None:
        if name not in self.meant:
            self.made += 1
            numbers = np.arange(ROWS * WIDTH, dtype=np.float32).reshape(ROWS, WIDTH)
            self.meant[name] = numbers + 100 * self.made  # no two rows are alike
        try:
            with self.lake.create_tensor(
                name, rowset="c@r", width=WIDTH, dtype="float32"
            ) as writer:
                start = writer.next_row
                assert start == len(self.held.get(name, ()))
                writer.append(self.meant[name][start : start + rows])
        except IncompleteError:
            pass

    def _open_anew(self) -> None:
        self.lake.close()
        self.lake = Lake.open(self.lake.root)

    def _committed(self, name: str) -> int:
        try:
            return len(self.lake.tensor(name).committed)
        except NotFoundError:
            return 0

    def _holds(self, name: str, rows: int) -> None:
        if rows:
            self.held[name] = self.meant[name][:rows]
        else:
            for of in (self.held, self.meant, self.coded):
                of.pop(name, None)

    @staticmethod
    def _compare(lake: Lake, held: Held, coded: Held) -> None:
        listed = lake.sql("SELECT tensor, state FROM tensors ORDER BY tensor").rows()
        shown = [(name, state) for name, state in listed if name in held or state == "sealed"]
        assert [name for name, _ in shown] == sorted(held)
        for name, state in shown:
            tensor, rows = lake.tensor(str(name)), held[str(name)]
            assert tensor.committed == frozenset(range(len(rows)))
            assert np.array_equal(tensor[: len(rows)], rows)
            assert (state == "sealed") <= (len(rows) == ROWS)
        listed = lake.sql("SELECT codes, tensor FROM codes ORDER BY tensor").rows()
        assert [of for _, of in listed] == sorted(coded)
        for name, of in listed:
            codes, block = lake.codes(str(name)), coded[str(of)]
            assert np.array_equal(codes[:].dense(), block)
            for feature in range(WIDTH):
                fired = np.flatnonzero(block[:, feature])
                assert codes.postings(feature)["row"].to_list() == fired.tolist()


def run_machine(*, examples: int, steps: int, seed: int | None = None) -> None:
    """Run that many orders of so many steps; without a seed the same ones each time."""
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=seed is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    machine = LakeMachine if seed is None else seeded(seed)(LakeMachine)
    run_state_machine_as_test(machine, settings=chosen)
