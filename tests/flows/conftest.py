"""Fixtures of the flow tests: tiny models, and lakes that are built once and copied."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from actlake.storage.lake import Lake
from tests.flows.tiny import ingested, save_model, write_documents


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model of an architecture."""

    @cache
    def save(architecture: str) -> Path:
        folder = tmp_path_factory.mktemp(architecture) / f"tiny-{architecture}"
        return save_model(architecture, folder)

    return save


@pytest.fixture(scope="session")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_documents(tmp_path_factory.mktemp("documents") / "documents.jsonl")


@pytest.fixture(scope="session")
def ingested_lake(
    tmp_path_factory: pytest.TempPathFactory, tiny: Callable[[str], Path], documents: Path
) -> Path:
    """A lake with one corpus, cut into rows for the tiny llama; copy it before writing."""
    path = tmp_path_factory.mktemp("ingested") / "lake"
    ingested(path, documents, [tiny("llama")]).close()
    return path


@pytest.fixture
def lake(ingested_lake: Path, tmp_path: Path) -> Lake:
    """A copy of the ingested lake, to write into."""
    return Lake.open(shutil.copytree(ingested_lake, tmp_path / "lake"))
