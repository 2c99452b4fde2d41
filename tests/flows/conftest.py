"""Fixtures of the flow tests: tiny models, and lakes that are built once and copied."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from actlake.flows.cli import main
from actlake.storage.lake import Lake
from tests.flows import history
from tests.flows.commands import Cli
from tests.flows.places import Place, Servers
from tests.flows.small_lake import small_lake_made
from tests.flows.tiny import ingested, learn, save_model, write_documents
from tests.shared import made_once


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model of an architecture."""

    @cache
    def save(architecture: str) -> Path:
        name = f"tiny-{architecture}"
        return made_once(tmp_path_factory, name, lambda path: save_model(architecture, path))

    return save


@pytest.fixture(scope="session")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "documents.jsonl", write_documents)


@pytest.fixture(scope="session")
def ingested_lake(
    tmp_path_factory: pytest.TempPathFactory, tiny: Callable[[str], Path], documents: Path
) -> Path:
    """A lake with one corpus, cut into rows for the tiny llama; copy it before writing."""
    return made_once(
        tmp_path_factory,
        "ingested-lake",
        lambda path: ingested(path, documents, [tiny("llama")]).close(),
    )


@pytest.fixture
def lake(ingested_lake: Path, tmp_path: Path) -> Lake:
    """A copy of the ingested lake, to write into."""
    return Lake.open(shutil.copytree(ingested_lake, tmp_path / "lake"))


@pytest.fixture(scope="session")
def dictionary_lake(tmp_path_factory: pytest.TempPathFactory, tiny: Callable[[str], Path]) -> Path:
    """A lake with a tensor of the tiny llama and its dictionary ``d``; copy it before writing."""

    def make(folder: Path) -> None:
        folder.mkdir()
        many = write_documents(folder / "documents.jsonl", (4, 9, 2, 40), seed=1, repeat=12)
        learn(ingested(folder / "lake", many, [tiny("llama")]), tiny("llama")).close()

    return made_once(tmp_path_factory, "dictionary", make) / "lake"


@pytest.fixture(scope="module")
def history_lake(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake of ``history`` at the ``place`` of a module; fork it before writing."""
    if isinstance(place, Servers):
        path = tmp_path_factory.mktemp("history") / "lake"
        history.fill(place.create(path)).close()
        return path
    return made_once(tmp_path_factory, "history-lake", lambda path: history.build(path).close())


@pytest.fixture(scope="session")
def speeches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of 40 speeches whose features are known; tests only read it."""
    return small_lake_made(tmp_path_factory)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs a command inline, in this process."""
    monkeypatch.setenv("ACTLAKE_RUNNER", "inline")
    runner = CliRunner()

    def call(lake: Path, *arguments: object) -> Result:
        environment = {"ACTLAKE_LAKE": str(lake)}
        return runner.invoke(main, [str(one) for one in arguments], env=environment)

    return call
