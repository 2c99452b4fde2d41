"""The store that is a folder."""

from pathlib import Path

import pytest

from actlake.storage.local_store import LocalStore
from actlake.storage.store import Store
from tests.storage.conformance.store import StoreTests


class TestLocalStore(StoreTests):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return LocalStore(tmp_path.resolve())
