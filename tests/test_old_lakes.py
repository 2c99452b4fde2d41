"""Every lake that an earlier version wrote says today what it said then, and can be written."""

from contextlib import closing
from pathlib import Path

import pytest

from actlake import sql
from actlake.flows.summarize import summarize
from actlake.storage.lake import Lake
from tests.flows.history import CODES
from tests.old_lakes import DATA, said, unpack, write

OLD = sorted(DATA.glob("*.tar.gz"))


def test_data__has_a_lake_of_today() -> None:
    """Else what comes next could break what was never kept: `python -m tests.old_lakes`."""
    schema = len(sql.names("schema"))
    assert any(file.name.endswith(f"-schema-{schema}.tar.gz") for file in OLD)


@pytest.mark.parametrize("file", OLD, ids=lambda file: file.name.removesuffix(".tar.gz"))
def test_old_lake__says_what_it_said(file: Path, tmp_path: Path) -> None:
    path, then = unpack(file, tmp_path)
    with closing(Lake.open(path)) as lake:
        assert said(lake, then["columns"]) == then["said"]
        with closing(lake.at(then["earlier"]["snapshot"])) as earlier:
            assert said(earlier, then["columns"]) == then["earlier"]["said"]
        assert then["earlier"]["said"] != then["said"]
        assert [*lake.verify()] == []
        summarize(lake, codes=CODES, mask="later")
        masks = lake.sql("SELECT DISTINCT mask FROM feature_statistics ORDER BY ALL").rows()
        assert masks == [("all",), ("later",)]
        assert [*lake.verify()] == []


@pytest.mark.soak
def test_said__tells_a_lake_with_another_value(tmp_path: Path) -> None:
    path, then = unpack(write(tmp_path), tmp_path)
    with closing(Lake.open(path)) as lake:
        assert said(lake, then["columns"]) == then["said"]
        lake.create_mask("another", "position > 2")
        assert said(lake, then["columns"]).keys() == then["said"].keys()
        now = said(lake, then["columns"]).items()
        assert {name for name, _ in now - then["said"].items()} == {"table masks", "table runs"}
