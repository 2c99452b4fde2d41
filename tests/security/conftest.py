"""The lakes of the storage tests, to attack."""

from tests.storage.conftest import bench, empty_lake, planted

__all__ = ["bench", "empty_lake", "planted"]
