"""What memory has no room for: the budget of a pass is halved, and the rest is computed so."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from actlake.flows.batch_plan import within_memory
from actlake.flows.extract import extract
from actlake.flows.extraction import capture
from actlake.flows.extraction.forward import forward
from actlake.flows.extraction.memory import LARGEST_BUDGET, probe, room_for, told_of_memory
from actlake.flows.extraction.models import load_model
from actlake.storage.errors import RoomError
from actlake.storage.lake import Lake
from tests.flows.tiny import payloads

SITE = "resid_post.1"


class Memory:
    """Stands before ``forward``: from pass ``after`` on, passes of more tokens find no room."""

    def __init__(self, room: int, after: int = 0) -> None:
        self.room, self.after, self.passes = room, after, 0

    def __call__(self, module: Any, inputs: Mapping[str, torch.Tensor], *more: Any) -> torch.Tensor:
        self.passes += 1
        if self.passes > self.after and inputs["input_ids"].numel() > self.room:
            torch.empty(1 << 50)  # the allocator says it itself
        return forward(module, inputs, *more)


def budgets(lake: Lake, tensor: str) -> list[int]:
    query = "SELECT token_budget FROM shards WHERE owner = $id ORDER BY shard"
    return [int(str(one)) for (one,) in lake.sql(query, id=lake.tensor(tensor).id).rows()]


@pytest.mark.slow
def test_no_room__halves_the_budget_for_what_is_not_committed(
    lake: Lake, tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {"source": str(tiny("llama")), "sites": [SITE], "corpus": "c"}
    given |= {"rowset": "c@tiny-llama", "torch_threads": 1}
    [small] = extract(lake, **given, model="small", token_budget=32)
    shards = len(budgets(lake, small))

    monkeypatch.setattr(capture, "forward", Memory(room=0, after=2))
    with pytest.raises(RoomError, match=r"does not fit the memory, .* use another device") as told:
        extract(lake, **given, model="halved", token_budget=256)
    assert "\n" not in str(told.value)
    halved = f"halved:{SITE}@c"
    first = len(budgets(lake, halved))
    assert 0 < first < shards  # what was committed stays

    monkeypatch.setattr(capture, "forward", Memory(room=32))
    extract(lake, **given, model="halved")
    found = budgets(lake, halved)
    assert found == sorted(found, reverse=True)  # never larger again
    assert (found[first - 1], found[-1]) == (256, 32)
    assert lake.tensor(halved).attributes()["token_budget"] == 256  # as it was planned
    stored = payloads(lake)
    for shard in (shard for shard in range(first, shards) if found[shard] == 32):
        assert stored[f"{halved}/c.{shard}.0"] == stored[f"{small}/c.{shard}.0"]


def accelerator() -> None:
    raise torch.OutOfMemoryError("what CUDA tells of its allocations")


def test_lack_of_memory__is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), told_of_memory("it"):
        torch.zeros(2, 3) @ torch.zeros(2, 3)
    for fail in (lambda: torch.empty(1 << 50), accelerator):
        with pytest.raises(RoomError, match=r"^it does not fit the memory$"), told_of_memory("it"):
            fail()


def test_within_memory__halves_down_to_one_window() -> None:
    tried: list[int] = []

    def compute(budget: int) -> None:
        tried.append(budget)
        raise RoomError("it does not fit")

    with pytest.raises(RoomError, match="a window cannot be cut"):
        within_memory(compute, 1000, 100)
    assert tried == [1000, 500, 250, 125, 100]


def test_room_for__is_the_power_of_two_that_half_of_the_memory_holds() -> None:
    def peak(windows: int) -> int:
        return 5_000 + windows * 128 * 1_000  # fixed, and 1,000 bytes a token

    assert room_for(peak, 128, free=2 * (5_000 + 1_000 * 4096)) == 4096
    assert room_for(peak, 128, free=2 * (5_000 + 1_000 * 4096) - 2_000) == 2048
    assert room_for(peak, 128, free=1 << 50) == LARGEST_BUDGET
    assert room_for(peak, 128, free=0) == 128  # a window is the least that a pass can hold
    assert room_for(lambda _: 0, 128, free=1 << 30) == LARGEST_BUDGET


def test_probe__counts_no_memory_on_the_cpu(tiny: Callable[[str], Path]) -> None:
    assert probe(load_model(str(tiny("llama")), device="cpu"), 32) is None


@pytest.mark.gpu
def test_probe__finds_a_budget_that_fits(tiny: Callable[[str], Path]) -> None:
    loaded = load_model(str(tiny("llama")), device="cuda")
    assert probe(loaded, 32) == probe(loaded, 32) == LARGEST_BUDGET
