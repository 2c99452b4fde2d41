"""The fuzzers, for a few files."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from actlake.storage.errors import CorpusError
from tests.fuzz.corpus_files import Planted, plant
from tests.soak.fuzz import documents, fault, ingests, readings


def test_files__are_read_as_others_read_them_or_refused(tmp_path: Path) -> None:
    counts, faults = readings(tmp_path, np.random.default_rng(0), 400)
    assert faults == []
    assert min(counts["read"], counts["refused"]) > 100


def test_files__are_in_the_lake_whole_or_not_at_all(tmp_path: Path) -> None:
    counts, faults = ingests(tmp_path, np.random.default_rng(1), 8)
    assert faults == []
    assert min(counts["read"], counts["refused"]) > 1


def test_fuzzer__would_see_what_is_read_wrongly(tmp_path: Path) -> None:
    """A document lost, a text cut, a label changed, and a whole file that is refused."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "one", "n": 1}\n{"text": "two", "n": 2}\n', "utf-8")
    planted = Planted(path, "jsonl", damaged=False)
    found = documents(planted)
    assert isinstance(found, list)
    assert fault(planted, found) is None
    first, second = found
    for wrong in (
        [first],
        [second, first],
        [first, replace(second, text="tw")],
        [first, replace(second, labels={"n": 2.0})],
        [first, replace(second, labels={})],
        CorpusError("no"),
    ):
        assert fault(planted, wrong) is not None
    assert fault(replace(planted, damaged=True), CorpusError("two\nlines")) is not None


def test_plant__writes_whole_and_damaged_files_of_every_format(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    planted = [plant(tmp_path, random) for _ in range(200)]
    assert len({(one.format, one.damaged) for one in planted}) == 12
