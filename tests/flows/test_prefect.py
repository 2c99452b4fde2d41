"""The flows under Prefect: the same bytes, another try for what may pass, none for what cannot."""

import gc
import json
import os
import shutil
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event, get_ident
from typing import Any

import numpy as np
import pytest
from prefect.testing.utilities import prefect_test_harness
from prefect.utilities.callables import parameter_schema

from actlake.flows import export as export_module
from actlake.flows import prefect_flows
from actlake.flows.encode import encode
from actlake.flows.execution import PREFECT_SETTINGS
from actlake.flows.extract import extract
from actlake.flows.prefect_flows import FLOWS, PrefectTasks
from actlake.flows.runners import Later
from actlake.flows.sources import Source
from actlake.flows.summarize import summarize
from actlake.storage.errors import DiskError, InputError, NotFoundError
from actlake.storage.lake import Lake
from tests.flows.contents import table_rows
from tests.flows.tiny import payloads, state

pytestmark = [
    pytest.mark.slow,
    # Prefect's own: its server and its clients leave connections to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=180):
        yield


def test_payloads__are_those_of_the_inline_flows(
    dictionary_lake: Path, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    source, site = str(tiny("llama")), "mlp_act.2"
    inline = Lake.open(shutil.copytree(dictionary_lake, tmp_path / "inline"))
    extract(inline, source=source, sites=[site], corpus="c", torch_threads=1)
    summarize(inline, codes=encode(inline, dictionary="d"))
    other = Path(shutil.copytree(dictionary_lake, tmp_path / "prefect"))
    flows: dict[str, Any] = {**FLOWS}
    names = flows["extract"](
        lake=str(other), source=source, sites=[site], corpus="c", torch_threads=1
    )
    assert names == [f"tiny-llama:{site}@c"]
    codes = flows["encode"](lake=str(other), dictionary="d")
    flows["summarize"](lake=str(other), codes=codes)
    flows["summarize"](lake=str(other), codes=[codes], name="alone")
    assert len(Lake.open(other).table("codes_sets").collect()) == 1
    found = Lake.open(other)
    assert payloads(found) == payloads(inline)
    summarize(inline, codes=[codes], name="alone")
    for table in ("postings", "feature_statistics", "feature_examples", "feature_tokens"):
        assert table_rows(found, table) == table_rows(inline, table)
    assert [str(fault) for fault in found.verify()] == []


def hiccup(patch: pytest.MonkeyPatch, at: int, of: str = "/") -> list[Path]:
    """The disk fails once, as file number ``at`` below a folder ``of`` is named; all such files."""
    tried: list[Path] = []
    link = os.link

    def failing(staged: Any, final: Any) -> None:
        if of in Path(final).parts:
            tried.append(Path(final))
            if len(tried) == at:
                raise OSError(5, "the disk hiccuped")
        link(staged, final)

    patch.setattr("os.link", failing)
    return tried


def test_step__that_fails_once_is_tried_again(
    dictionary_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_flows, "RETRY_SECONDS", 0)
    path = Path(shutil.copytree(dictionary_lake, tmp_path / "lake"))
    # Within the second shard, with one array of it written.
    tried = hiccup(monkeypatch, 5, of="codes")
    FLOWS["encode"](lake=str(path), dictionary="d")
    monkeypatch.undo()
    assert len(tried) > 5
    inline = Lake.open(shutil.copytree(dictionary_lake, tmp_path / "inline"))
    encode(inline, dictionary="d")
    found = Lake.open(path)
    assert payloads(found) == payloads(inline)
    assert [str(fault) for fault in found.verify()] == []


def test_flow__without_steps_that_fails_once_is_tried_again(
    dictionary_lake: Path, documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_flows, "RETRY_SECONDS", 0)
    monkeypatch.setattr(export_module, "_draw", lambda *_: {})  # pictures: half of its time
    path = Path(shutil.copytree(dictionary_lake, tmp_path / "lake"))
    tensor, options = "tiny-llama:resid_post.1@c", {"steps": 4, "n_features": 8, "k": 2}
    flows: dict[str, Any] = {**FLOWS}
    for name, given in (
        ("ingest", {"corpus": "new", "source": Source(path=str(documents))}),
        ("train", {"tensor": tensor, "dictionary": "new", **options}),
        ("export", {"folder": tmp_path / "out", "features": 2}),
    ):
        with monkeypatch.context() as patch:
            tried = hiccup(patch, 3)
            flows[name](lake=str(path), **given)
        assert len(tried) >= 3 or name == "export", name  # which publishes its files at once
    found = Lake.open(path)
    query = "SELECT flow FROM runs WHERE prefect_run IS NOT NULL AND state = 'completed'"
    assert {("ingest",), ("train",)} <= {*found.sql(query).rows()}
    assert found.dictionary("new").n_features == 8
    assert (tmp_path / "out" / "lake.duckdb").exists()
    assert [str(fault) for fault in found.verify()] == []


def test_step__that_cannot_pass_is_not_tried_again(
    dictionary_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from actlake.analytics.dictionaries.torch_encoder import TorchEncoder

    path = Path(shutil.copytree(dictionary_lake, tmp_path / "lake"))
    before = state(Lake.open(path))
    tried: list[int] = []

    def refuses(self: TorchEncoder, block: Any, dtype: str = "float32") -> Any:
        tried.append(len(block))
        raise InputError("these rows cannot be")

    monkeypatch.setattr(TorchEncoder, "encode", refuses)
    with pytest.raises(InputError, match="these rows cannot be"):
        FLOWS["encode"](lake=str(path), dictionary="d")
    assert len(tried) == 1
    assert state(Lake.open(path)) == before
    with pytest.raises(NotFoundError, match="nothing"):
        FLOWS["encode"](lake=str(path), dictionary="nothing")


def are_let_go(held: Sequence[weakref.ref[Any]], but: int = 0) -> bool:
    """Soon: a thread that was waited for may hold its last a little longer."""
    for _ in range(200):
        if sum(one() is not None for one in held) <= but:
            return True
        time.sleep(0.05)
    return False


def test_steps__compute_in_the_flows_own_thread_and_are_written_in_another() -> None:
    from prefect import flow

    here, events, held = list[int](), list[str](), list[weakref.ref[Any]]()
    begun = [Event() for _ in range(7)]

    def step(item: int) -> int | Later[int]:
        begun[item].set()
        assert get_ident() == here[0]
        assert are_let_go(held[:-2])  # what Prefect keeps does not grow
        rows = np.zeros(4)
        held.append(weakref.ref(rows))
        events.append(f"computed {item}")

        def write() -> int:
            assert get_ident() != here[0]
            assert begun[item + 1].wait(30)  # written as the next one computes
            events.append(f"written {item}")
            return item * item + int(rows[0])

        return Later(write)

    @flow
    def squares() -> list[int]:
        here.append(get_ident())
        begun[6].set()
        return [*PrefectTasks().map("square", step, range(6))]

    assert squares() == [item * item for item in range(6)]
    for what in ("computed", "written"):
        assert [one for one in events if what in one] == [f"{what} {item}" for item in range(6)]


@pytest.mark.parametrize("failures", [1, 2, 9])
def test_write__that_fails_is_tried_again_with_its_step(
    monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    from prefect import flow

    monkeypatch.setattr(prefect_flows, "RETRY_SECONDS", 0)
    tried: list[int] = []
    kept: list[int] = []
    held: list[weakref.ref[Any]] = []

    def step(item: int) -> int | Later[int]:
        gc.collect()  # an error and its frames hold each other
        assert are_let_go(held, but=1)  # what failed, too
        rows = np.zeros(4)
        held.append(weakref.ref(rows))

        def write() -> int:
            assert not rows.any()
            tried.append(item)
            if item == 1 and tried.count(1) <= failures:
                raise DiskError("the disk hiccuped; run this again")
            return item * item

        return Later(write)

    @flow
    def squares() -> None:
        kept.extend(PrefectTasks().map("square", step, range(4)))

    if failures <= prefect_flows.RETRIES:
        squares()
        assert kept == [0, 1, 4, 9]
        assert tried.count(1) == failures + 1
    else:
        with pytest.raises(DiskError, match="the disk hiccuped"):
            squares()
        assert kept == [0]  # and what comes after the one that failed is not kept
        assert tried.count(1) == prefect_flows.RETRIES + 1
        assert 3 not in tried
    assert {tried.count(item) for item in (0, 2)} == {1}


def test_parameters__are_typed_and_fit_a_deployment() -> None:
    for name, one in FLOWS.items():
        schema = parameter_schema(one).model_dump()
        properties = schema["properties"]
        assert next(iter(properties)) == "lake"
        assert properties["lake"]["type"] == "string"
        assert not {"runner", "call"} & {*properties}
        assert json.dumps(schema)
        for parameter, facts in properties.items():
            assert {"type", "anyOf", "$ref", "allOf"} & {*facts}, f"{name} {parameter}"
    source = {"path": "speeches/*.txt", "unit": "paragraph", "labels": ["year"]}
    given = {"lake": "lake", "corpus": "c", "source": source}
    validated = FLOWS["ingest"].validate_parameters(given)
    assert validated["source"] == Source(path="speeches/*.txt", unit="paragraph", labels=("year",))
    assert FLOWS["extract"].description or FLOWS["extract"].fn.__doc__


def test_settings__are_names_that_prefect_knows() -> None:
    from prefect.settings import Settings

    known = {
        alias
        for model in (Settings,)
        for alias in model().to_environment_variables(exclude_unset=False, include_secrets=False)
    }
    assert {*PREFECT_SETTINGS} <= known
