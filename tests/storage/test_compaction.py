"""Compaction: the same postings in other files, whatever happens on the way."""

import shutil
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actlake.storage import Lake, compaction
from actlake.storage.compaction import Range, compact, cut, uncompacted
from actlake.storage.csr import Csr
from actlake.storage.errors import CorruptError
from actlake.storage.postings import encode_postings
from actlake.storage.table_files import live_files, replace_files
from tests.storage.conftest import (
    Planted,
    codes_plan,
    content,
    fresh_name,
    make_rowset,
    python,
    write_codes,
)
from tests.storage.test_retention import damaged

EVERYTHING = "SELECT codes, feature, row, value FROM postings ORDER BY ALL"


@pytest.fixture
def lake(planted: Planted, tmp_path: Path) -> Iterator[Lake]:
    """A copy of the planted lake, whose codes have nine files of postings."""
    lake = Lake.open(shutil.copytree(planted.root, tmp_path / "lake"))
    yield lake
    lake.close()


def compacted(lake: Lake) -> int:
    """Compact whatever there is; how many groups that were."""
    with lake.run("test", {"compact": fresh_name()}, {}) as run:
        groups = uncompacted(run)
        assert all(compact(run, group) for group in groups)
    return len(groups)


def files(lake: Lake) -> list[Path]:
    connection = lake._connection()

    def rows(query: str, **parameters: object) -> list[tuple[object, ...]]:
        return connection.execute(query, parameters).fetchall()

    return [lake.root / one.path for one in live_files(rows, "postings")]


def row_groups(path: Path, feature: int) -> int:
    """Row groups of a file that may hold the feature, by their statistics."""
    metadata = pq.ParquetFile(path).metadata
    spans = [metadata.row_group(i).column(1).statistics for i in range(metadata.num_row_groups)]
    return sum(one.min <= feature <= one.max for one in spans)


def test_compact__keeps_every_posting_in_fewer_files(lake: Lake) -> None:
    before, old, snapshot = lake.sql(EVERYTHING).pl(), files(lake), lake.newest_snapshot()

    assert compacted(lake) == 1

    assert (len(old), len(files(lake))) == (9, 1)
    assert lake.sql(EVERYTHING).pl().equals(before)
    assert (
        lake.codes("d@c")
        .postings(3)
        .equals(before.filter(feature=3).select("row", "value").sort("row"))
    )
    found = pq.read_table(files(lake)[0]).select(["feature", "row"]).to_pylist()
    assert [(one["feature"], one["row"]) for one in found] == sorted(
        (one["feature"], one["row"]) for one in found
    )
    assert lake.at(snapshot).sql(EVERYTHING).pl().equals(before)
    assert all(path.exists() for path in old)
    assert files(lake)[0].relative_to(lake.root).as_posix() in lake._claims.files()
    assert [*lake.verify()] == []

    found_files = files(lake)
    assert compacted(lake) == 0
    assert files(lake) == found_files


def test_compact__refuses_a_file_that_has_rotted(lake: Lake) -> None:
    """What it writes gets a hash of its own, so rot that it read could never be found again."""
    path = files(lake)[4]
    table, before = pq.read_table(path), lake.sql(EVERYTHING).pl()
    values = table["value"].to_numpy().copy()
    values.view(np.uint8)[3] ^= 1
    rotten = encode_postings(table.set_column(3, "value", pa.array(values)))
    path.chmod(0o644)
    path.write_bytes(rotten)
    differs = (lake.sql(EVERYTHING).pl()["value"] != before["value"]).sum()
    assert differs == 1  # well formed: only a hash can tell
    name = path.relative_to(lake.root).as_posix()
    with lake.run("test", {"rotten": True}, {}) as run:
        (group,) = uncompacted(run)
        whole = content(lake)
        with pytest.raises(CorruptError, match=rf"{name} is not what was committed, .*verify`$"):
            compact(run, group)
        assert content(lake) == whole
        path.unlink()
        with pytest.raises(CorruptError, match=rf"{name} is missing, .*verify`$"):
            compact(run, group)
        path.write_bytes(rotten)
    assert damaged(lake) == [name]


def test_compact__cuts_ranges_and_groups_within_their_bounds(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "RANGE_POSTINGS", 10)
    monkeypatch.setattr(compaction, "GROUP_POSTINGS", 60)
    before = lake.sql(EVERYTHING).pl()

    assert compacted(lake) > 1

    spans = []
    for path in files(lake):
        table = pq.read_table(path)
        assert len(table) <= 10
        spans.append([pc.min_max(table[name]).as_py() for name in ("feature", "row")])
    assert all(  # in one group by features, in two by rows
        any(a["max"] < b["min"] or b["max"] < a["min"] for a, b in zip(one, other, strict=True))
        for one, other in combinations(spans, 2)
    )
    assert lake.sql(EVERYTHING).pl().equals(before)
    assert compacted(lake) == 0
    assert damaged(lake) == []


@pytest.mark.slow
def test_compact__one_feature_in_few_row_groups_and_four_bytes_a_posting(fresh: Lake) -> None:
    rows, features, k = 16_384, 1024, 32
    rng = np.random.default_rng(0)
    rowset = make_rowset(fresh, rows, width_hint=1 << 14)
    indices = np.sort(rng.random((rows, features)).argpartition(k, axis=1)[:, :k], axis=1)
    values = np.abs(rng.normal(1, 0.3, rows * k)).clip(0.01).astype(np.float16)
    block = Csr(np.arange(0, rows * k + 1, k), indices.ravel().astype(np.uint16), values, features)
    with fresh.run("test", {}, {}) as run:
        write_codes(run, codes_plan("big", rowset, features=features), block)
    before = [row_groups(path, 500) for path in files(fresh)]

    compacted(fresh)

    after = [row_groups(path, 500) for path in files(fresh)]
    assert before == [1] * 8
    assert sum(after) <= 2  # one, or two where it lies on an edge
    assert sum(path.stat().st_size for path in files(fresh)) <= 4 * rows * k
    plan = "EXPLAIN ANALYZE SELECT sum(value) FROM postings WHERE codes = 'big' AND feature = 500"
    [(_, text)] = fresh._connection().execute(plan).fetchall()
    assert "Total Files Read: 1 " in text


def test_uncompacted__leaves_codes_alone_that_are_not_sealed(lake: Lake) -> None:
    lake._catalog.commit(lambda now: now.execute("UPDATE codes SET state = 'planned'"), "test")
    assert compacted(lake) == 0


def test_replace__refuses_what_has_changed_meanwhile(lake: Lake) -> None:
    with lake.run("test", {"late": True}, {}) as run:
        (group,) = uncompacted(run)
        lake._catalog.commit(
            lambda now: now.execute("DELETE FROM postings WHERE feature = 3"), "test"
        )
        before = content(lake)
        assert compact(run, group) == []
        assert content(lake) == before


def test_replace__refuses_another_number_of_rows(lake: Lake) -> None:
    with lake.run("test", {"short": True}, {}) as run:
        (group,) = uncompacted(run)
        table = pq.read_table([lake.root / one.path for one in group.files])
        before = content(lake)
        staged = run.catalog.stage("postings", table.slice(1))
        with pytest.raises(CorruptError, match=r"116 rows .* 115 were written, not 116"):
            replace_files(run, "postings", group.files, [staged], "test")
        assert content(lake) == before


KILLED = """
import os, sys  # a fork for each line of input, so that everything is imported once
from actlake.storage import Lake, compaction
from actlake.storage.catalog import Catalog
from actlake.storage.claims import Claims
from actlake.storage.compaction import compact, uncompacted
from actlake.storage.transaction import Transaction

compaction.RANGE_POSTINGS = 30
for line in sys.stdin:
    child = os.fork()
    if not child:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
owner, name, last = {
    "staged": (Catalog, "stage_parquet", 2),
    "hashed": (Claims, "record_files", 1),
    "committed": (Transaction, "commit", 1),
}[line.strip()]
original, calls = getattr(owner, name), 0


def dies(*arguments, **named):
    global calls
    calls += compacting
    result = original(*arguments, **named)
    if calls == last:
        os._exit(9)
    return result


compacting = False
setattr(owner, name, dies)
lake = Lake.open(sys.argv[1])
with lake.run("test", {"killed": line}, {}) as run:
    (group,) = uncompacted(run)
    compacting = True
    compact(run, group)
"""


@pytest.mark.slow
def test_compact__killed_anywhere_loses_nothing(lake: Lake) -> None:
    before = lake.sql(EVERYTHING).pl()
    with python(KILLED, lake.root, stdin=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        # Each finds what the one before has left, but the last, which has committed.
        for at, left in (("staged", 9), ("hashed", 9), ("committed", 5)):
            child.stdin.write(f"{at}\n")
            child.stdin.flush()
            assert child.stdout.readline() == "9\n", at
            assert len(files(lake)) == left
            assert lake.sql(EVERYTHING).pl().equals(before)
            assert damaged(lake) == []
        assert child.communicate()[1] == ""
    assert compacted(lake) == 0
    assert [*lake.verify()] == []


@given(
    counts=st.lists(st.integers(0, 25), min_size=1, max_size=30),
    start=st.integers(0, 50),
    most=st.integers(1, 12),
)
def test_cut__covers_every_posting_once_within_the_bound(
    counts: list[int], start: int, most: int
) -> None:
    rows = (start, start + 25)
    dense = np.zeros((25, len(counts)), np.float32)
    for feature, n in enumerate(counts):  # its first n rows: the worst case for a cut by rows
        dense[:n, feature] = 1
    found = np.zeros_like(dense)
    for one in cut(np.array(counts), rows, most):
        part = (
            slice(one.row_start - start, one.row_stop - start),
            slice(one.feature_start, one.feature_stop),
        )
        assert 0 < dense[part].sum() <= most or one.feature_stop - one.feature_start == 1
        assert dense[part].sum() <= most
        found[part] += dense[part]
    assert np.array_equal(found, dense)


def test_cut__of_nothing_is_nothing() -> None:
    assert [*cut(np.zeros(4, np.int64), (0, 9), 5)] == []
    assert [*cut(np.array([5]), (0, 9), 5)] == [Range(0, 1, 0, 9)]
