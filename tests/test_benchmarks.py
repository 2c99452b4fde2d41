"""The benchmarks run, on sizes that measure nothing, and say what they compare."""

import json
import math
import sys
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest

from actlake.flows.runners import Threads
from benchmarks import peer, several
from benchmarks.__main__ import GROUPS, run
from benchmarks.accelerator import busy
from benchmarks.measure import Case, Fact, Ratio, measure
from benchmarks.report import fact_line, markdown, ratio_line, write
from benchmarks.sizes import SMALL, Sizes

TINY = Sizes(  # a shard a row, as every shard costs a commit
    written_rows=4,
    tensor_rows=2,
    tensor_width=8,
    gather_rows=16,
    batch_rows=2,
    encode_rows=2,
    encode_width=8,
    encode_features=32,
    encode_k=4,
    summary_rows=512,
    summary_fires=4,
    summary_features=16,
    summary_tokens=50,
    several_summary_rows=64,
    several_encode_rows=2,
    several_model_rows=2,
    asked_features=3,
    model_width=32,
    model_rows=2,
    null_rows=2,
    real_model_rows=0,
)
CASES = {
    "extraction": {
        "extraction, random llama of 2 layers of 32": [
            "actlake, 1 site",
            "actlake, 6 sites",
            "the passes, then 6 raw files a shard",
        ]
    },
    "storing": {
        "extraction, null model, 1 site": ["actlake", "actlake, one step after the other"],
        "extraction, null model, 6 sites": ["actlake", "actlake, one step after the other"],
    },
    "tensor": {
        "tensor write": ["actlake", "zarr-python, no fsync"],
        "tensor read": ["actlake", "zarr-python"],
        "tensor read in pieces": ["actlake"],
        "tensor gather": ["actlake", "zarr-python"],
        "tensor epoch": ["actlake", "actlake, to_torch in a DataLoader"],
    },
    "encode": {"encode": ["actlake", "numpy, nothing stored"]},
    "summarize": {
        "summarize": [
            "actlake",
            "of which moments, histogram and strongest rows",
            "the same answers in SQL, without histograms",
        ]
    },
    "several": {
        f"{verb} by two workers": ["2 processes, with their start", "2 workers of a Dask cluster"]
        for verb in ("extract", "encode", "summarize")
    },
    "asking": {
        "contexts of a feature": ["actlake"],
        "examples of 3 features": ["actlake"],
        "co-firing of all pairs": ["actlake"],
        "features × 20 labels": ["actlake, documents", "actlake, rows"],
    },
}


@pytest.mark.slow  # torch and transformers take seconds to import
@pytest.mark.parametrize("group", GROUPS)
def test_group__gives_finite_named_ratios(
    group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its workers' start takes a minute, and what they do has tests of its own.
    monkeypatch.setattr(
        several, "LocalCluster", lambda **_: nullcontext(SimpleNamespace(scheduler_address=""))
    )
    monkeypatch.setattr(several, "DaskWorkers", lambda _: Threads())
    monkeypatch.setattr(several, "Processes", lambda _: Threads())
    ratios_of_group(group, tmp_path, monkeypatch)


@pytest.mark.soak
def test_group__of_several_workers_starts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ratios_of_group("several", tmp_path, monkeypatch)


def ratios_of_group(group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "PYTHON", tmp_path / "none")
    ratios, facts = run(group, TINY, tmp_path, rounds=1, warm_up=0)

    found: dict[str, list[str]] = {}
    for ratio in ratios:
        found.setdefault(ratio.case, []).append(ratio.side)
        assert ratio.limit not in (ratio.side, "")
        assert all(0 < one < math.inf for one in ratio.spread())
    assert found == CASES[group]
    assert all(fact.name and fact.unit and 0 <= fact.value < math.inf for fact in facts)
    assert list(tmp_path.iterdir()) == []


def test_busy__counts_what_overlaps_once_and_nothing_outside() -> None:
    spans = [(4.0, 6.0), (0.0, 1.0), (1.5, 3.0), (2.0, 2.5), (2.0, 4.5), (9.0, 12.0)]
    assert busy(spans, (0.5, 10.0)) == pytest.approx(0.5 + 4.5 + 1.0)
    assert busy([], (0.0, 1.0)) == 0
    assert busy([(-3.0, -2.0)], (0.0, 1.0)) == 0
    assert busy([(-3.0, 8.0)], (0.0, 1.0)) == 1


def test_measure__alternates_and_drops_the_first_round() -> None:
    order: list[tuple[str, int]] = []

    def side(name: str, seconds: list[float]) -> float:
        order.append((name, len(order) // 2))
        return seconds[(len(order) - 1) // 2]

    case = Case(
        "case",
        "work",
        "limit",
        {
            "ours": lambda _: side("ours", [100.0, 2.0, 9.0, 8.0]),
            "limit": lambda _: side("limit", [1.0, 1.0, 3.0, 2.0]),
        },
    )

    [ratio] = measure(case, rounds=3)

    assert order == [(name, number) for number in range(4) for name in ("ours", "limit")]
    assert ratio.ratios() == [2.0, 3.0, 4.0]
    assert ratio.spread() == (3.0, 2.0, 4.0)


def test_peer__is_asked_and_says_what_stopped_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"""
import sys
sys.path.append({str(Path(peer.HERE, "peers"))!r})
from answering import answer
print("as it is imported")
def half(of):
    print("as it works")
    return of / 2
def fail():
    raise ValueError("no such rows")
answer({{"half": half, "fail": fail, "all": lambda: None}})
""")
    with peer.Peer(str(script), Path(sys.executable)) as found:
        assert found.side("half", of=3)(0) == 1.5
        assert 0 <= found.seconds("all") < 1
        with pytest.raises(SystemExit, match=r"script.py ended: ValueError: no such rows"):
            found.seconds("fail")


def test_report__says_which_targets_are_met_and_how_others_stand_beside_us(tmp_path: Path) -> None:
    case = Case(
        "case",
        "work",
        "limit",
        {
            "limit": lambda _: 2.0,
            "actlake": lambda _: 3.0,
            "peer": lambda _: 12.0,
            "other": lambda _: 9.0,
        },
        targets={"actlake": 1.5, "peer": 5.0},
        allowed={"actlake": 2.5},
        behind={"peer": 4.0, "other": 3.5, "not installed": 1.0},
        amount=6.0,
        unit="MiB",
    )
    few, many = (Fact("bytes a posting", value, "bytes", 4.0) for value in (4.0, 4.1))

    ours, peers, others = measure(case, rounds=2)
    path = write(tmp_path, {"date": "2026-01-02 03:04 UTC"}, [ours, peers, others], [few, many])

    assert ratio_line(ours).split(maxsplit=3)[1:] == [
        "1.50",
        "×",
        "(1.50 – 1.50)  2 of 3 MiB/s  3 s ≤ 2.5 s missed, ≤ 1.50 met",
    ]
    assert ratio_line(peers).endswith("  ≤ 5.00 missed  4.00 × actlake, ≥ 4.00 met")
    assert ratio_line(others).endswith("of 3 MiB/s  3.00 × actlake, ≥ 3.50 missed")
    assert fact_line(few).endswith(" 4.00 bytes  ≤ 4.00 met")
    assert fact_line(many).endswith(" 4.10 bytes  ≤ 4.00 missed")
    assert fact_line(Fact("start-up", 2.0, "s")).endswith(" 2.00 s")
    page, kept = path.read_text(), json.loads(path.with_suffix(".json").read_text())
    assert "| ≤ 5.00 missed | 4.00 × actlake, ≥ 4.00 met |" in page
    assert "| bytes a posting | 4.10 bytes | ≤ 4.00 missed |" in page
    assert [one["behind"] for one in kept["ratios"]] == [None, 4.0, 3.5]
    assert [one["at_most"] for one in kept["facts"]] == [4.0, 4.0]


def test_write__keeps_every_round_and_the_machine(tmp_path: Path) -> None:
    machine = {"date": "2026-01-02 03:04 UTC", "processor": "2 cores"}
    ratio = Ratio("case", "work", "ours", "limit", (2.0, 3.0), (1.0, 2.0))

    path = write(tmp_path, machine, [ratio], [Fact("bytes a posting", 3.5, "bytes")])

    kept = json.loads(path.with_suffix(".json").read_text())
    assert path.name == "2026-01-02-0304.md"
    assert kept["machine"] == machine
    assert kept["ratios"][0]["seconds"] == [2.0, 3.0]
    assert (kept["ratios"][0]["median"], kept["ratios"][0]["max"]) == (1.75, 2.0)
    assert "| case: work | ours | limit | 1.75 | 1.50 | 2.00 |  |  |  |" in path.read_text()
    assert "| bytes a posting | 3.50 bytes |  |" in path.read_text()
    assert markdown(machine, [ratio], []).count("\n| ") == 2


def test_small__is_never_more_work() -> None:
    from benchmarks.sizes import FULL

    for field in fields(Sizes):
        assert getattr(SMALL, field.name) <= getattr(FULL, field.name)
