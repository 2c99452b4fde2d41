"""What every test shares: quiet libraries, Hypothesis profiles, and the lake of the documents."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import slipcover
from hypothesis import HealthCheck, settings

from actlake.storage import pace
from tests.postgres import Server, running_server
from tests.s3 import Objects, running_s3

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

# Coverage keeps its probes: to take one out it walks every module, which loads lazy ones, under a
# lock that a child forked meanwhile would wait for.
slipcover.Slipcover.deinstrument_seen = lambda _: None

# No deadlines: two cores shared with other work make any of them flaky.
settings.register_profile("default", deadline=None, max_examples=50)
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=40,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "default")
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, those with few of them before those with many, so that no
    worker is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path not in slow, tests[item.path] * (item.path in slow)))


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No commit is due for days after the first."""
    monkeypatch.setattr(pace, "PATIENCE", 1e9)
    monkeypatch.setattr(pace, "LONGEST_SECONDS", 1e5)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A Postgres server that all tests of this process share."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def s3() -> Iterator[Objects]:
    """A bucket that all tests of this process share, which the environment names from now on."""
    with running_s3() as objects:
        yield objects


@pytest.fixture(scope="session")
def doc_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the code blocks of all documents run, with a small lake in `demo-lake`.

    Blocks see the lake as a reader of the documents does after `make demo`. All documents share
    the folder, so what a block creates needs a name of its own.
    """
    # Here, since it imports torch, which most runs of a few tests can do without.
    from tests.documents_lake import build_documents_lake

    folder = tmp_path_factory.mktemp("documents")
    build_documents_lake(folder)
    return folder
