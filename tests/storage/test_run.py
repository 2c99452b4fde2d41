"""Runs on a catalog in SQLite."""

from tests.storage.conformance.run import RunTests


class TestSqliteRun(RunTests):
    pass
