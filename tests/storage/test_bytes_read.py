"""What a query of codes reads, in bytes: as much as it asks for, before and after ``compact``.

Parquet is read by calls, which Linux counts for the process (rchar); the arrays of codes are
mapped, so each array that is opened counts whole.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from actlake.storage import Csr, Document, Lake, compaction, mapped_chunks, postings, rowset_writer
from actlake.storage.arrays import map_payload
from actlake.storage.compaction import compact, uncompacted
from actlake.storage.table_files import live_files
from tests.shared import made_once
from tests.storage.conftest import codes_plan, write_codes

ROWS, PER_DOCUMENT, FEATURES, K = 1 << 14, 128, 512, 16
SHARD = ROWS // 8
CODES, RARE, IN_SHARD = "big", FEATURES, 5
"""``RARE`` is a feature that fires on the rows of one shard alone."""
COUNTER = Path("/proc/self/io")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not COUNTER.exists(), reason="only Linux counts what is read"),
]


def block() -> Csr:
    rng = np.random.default_rng(0)
    features = np.sort(rng.random((ROWS, FEATURES)).argpartition(K, axis=1)[:, :K], axis=1)
    features[IN_SHARD * SHARD : (IN_SHARD + 1) * SHARD, -1] = RARE
    values = np.abs(rng.normal(1, 0.3, ROWS * K)).clip(0.01).astype(np.float16)
    starts = np.arange(0, ROWS * K + 1, K)
    return Csr(starts, features.ravel().astype(np.uint16), values, FEATURES + 1)


def build(root: Path) -> None:
    lake = Lake.create(root)
    documents = ROWS // PER_DOCUMENT
    lake.create_corpus("c", [Document(str(i), f"text {i}") for i in range(documents)])
    document = np.arange(ROWS) // PER_DOCUMENT
    columns = {"document": document, "token_id": document % 100}
    rowset = lake.create_rowset("r", corpus="c", columns=columns, tokenizer="w", width_hint=1 << 14)
    assert rowset.shard_rows == SHARD
    with lake.run("test", {}, {}) as run:
        write_codes(run, codes_plan(CODES, rowset, features=FEATURES + 1), block())
    lake.close()


@pytest.fixture(scope="module")
def by_shard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A lake whose codes have a file of postings a shard, and small row groups of tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rowset_writer, "ROW_GROUP", 1 << 10)
        root = made_once(tmp_path_factory, "bytes-read", build)
    with closing(Lake.open(root)) as lake:
        yield lake


@pytest.fixture(scope="module")
def by_feature(by_shard: Lake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """The same after ``compact``."""
    root = tmp_path_factory.mktemp("lakes") / "compacted"
    with closing(Lake.open(shutil.copytree(by_shard.root, root))) as lake:
        with pytest.MonkeyPatch.context() as patch, lake.run("test", {"compact": 1}, {}) as run:
            patch.setattr(compaction, "RANGE_POSTINGS", ROWS * K // 16)
            patch.setattr(postings, "ROW_GROUP", 1 << 12)
            assert all(compact(run, group) for group in uncompacted(run))
        yield lake


@pytest.fixture(params=["by_shard", "by_feature"])
def lake(request: pytest.FixtureRequest) -> Lake:
    found: Lake = request.getfixturevalue(request.param)
    return found


def rchar() -> int:
    return int(dict(line.split(": ") for line in COUNTER.read_text().splitlines())["rchar"])


@pytest.fixture
def arrays(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Bytes of each kind of array that is mapped."""
    mapped: Counter[str] = Counter()
    original = map_payload

    def counting(path: Path, *arguments: Any) -> NDArray[Any]:
        mapped[path.parent.name] += path.stat().st_size
        return original(path, *arguments)

    monkeypatch.setattr(mapped_chunks, "map_payload", counting)
    return mapped


Ask = Callable[[Lake], object]


def read_by(lake: Lake, ask: Ask, arrays: Counter[str]) -> int:
    """Bytes of Parquet that are read for ``ask``, but footers, by a lake that was asked before.

    Those of the catalog, which each query asks, are left out as what a query of nothing reads.
    """

    def read(one: Ask) -> int:
        before = rchar()
        one(lake)
        return rchar() - before

    lake.reading.forget()
    lake.codes(CODES).scan()
    arrays.clear()
    ask(lake)
    nothing = select("*", "codes = 'none'")
    read(nothing)
    return max(read(ask) - read(nothing), 0)


def size(lake: Lake, name: str) -> int:
    """Bytes of an array of the codes in all shards, or of the files of a table."""
    if name in ("postings", "tokens"):
        connection = lake._connection()
        files = live_files(lambda q, **p: connection.execute(q, p).fetchall(), name)
        return sum((lake.root / one.path).stat().st_size for one in files)
    return sum(path.stat().st_size for path in lake.root.glob(f"codes/*/*/{name}/c.*"))


def select(columns: str, condition: str, view: str = "firings") -> Ask:
    query = f"SELECT {columns} FROM {view} WHERE codes = $codes AND {condition}"
    return lambda lake: lake.sql(query, codes=CODES).rows()


def query(name: str, **asked: Any) -> Ask:
    return lambda lake: lake.query(name, codes=CODES, limit=3, **asked).rows()


def scan(change: Callable[[pl.LazyFrame], pl.LazyFrame]) -> Ask:
    return lambda lake: change(lake.codes(CODES).scan()).collect()


row, feature, value = pl.col("row"), pl.col("feature"), pl.col("value")
first, last = IN_SHARD * SHARD + 5, IN_SHARD * SHARD + 90
here, there = row.is_between(first, last), f'"row" BETWEEN {first} AND {last}'
ONE, ALL, NONE = 1, 8, 0
DOCUMENT = IN_SHARD * SHARD // PER_DOCUMENT + 3
AT: dict[str, Any] = {"mask": "all", "document": DOCUMENT}


@pytest.mark.parametrize(
    ("ask", "indptr", "indices", "values"),
    [
        (scan(lambda lazy: lazy), ALL, ALL, ALL),
        (scan(lambda lazy: lazy.select("row", "feature")), ALL, ALL, NONE),
        (scan(lambda lazy: lazy.select("row", "value")), ALL, NONE, ALL),
        (scan(lambda lazy: lazy.select("row")), ALL, NONE, NONE),
        (scan(lambda lazy: lazy.select(pl.len())), ALL, NONE, NONE),
        (scan(lambda lazy: lazy.filter(value > 2).select("row")), ALL, NONE, ALL),
        (scan(lambda lazy: lazy.filter(here)), ONE, ONE, ONE),
        (scan(lambda lazy: lazy.filter(here).select("row", "feature")), ONE, ONE, NONE),
        (scan(lambda lazy: lazy.filter(feature == RARE)), ALL, ALL, ONE),
        (scan(lambda lazy: lazy.filter((feature == 3) & here).select("row")), ONE, ONE, NONE),
        (select("*", "true"), ALL, ALL, ALL),
        (select("*", there), ONE, ONE, ONE),
        (select('"row", feature', there), ONE, ONE, NONE),
        (select("count(*)", there), ONE, NONE, NONE),
        (select("sum(value)", f"document = {DOCUMENT}"), ONE, NONE, ONE),
        (select("*", f"token_id = {DOCUMENT}"), ONE, ONE, ONE),
        (select("*", "token_id = 99 AND feature = 1"), ONE, ONE, ONE),
        (select('"row"', f"feature = {RARE}"), ALL, ALL, NONE),
        (query("features_of_document", document=DOCUMENT, by="max"), ONE, ONE, ONE),
        (query("features_of_rows", mask="all", first=first, last=last), ONE, ONE, ONE),
        (query("features_of_positions", **AT, first=3, last=3), ONE, ONE, ONE),
        (query("explanation_of_document", **AT), ONE, ONE, ONE),
    ],
)
def test_codes__are_read_as_far_as_a_query_needs_them(
    lake: Lake, ask: Ask, indptr: int, indices: int, values: int, arrays: Counter[str]
) -> None:
    read_by(lake, ask, arrays)
    wanted = {"indptr": indptr, "indices": indices, "values": values}
    assert arrays == {name: size(lake, name) * n // ALL for name, n in wanted.items() if n}


@pytest.mark.parametrize(
    "ask",
    [
        select("*", there),
        select("*", f"document = {DOCUMENT}"),
        select("*", "token_id = 99"),
        select("count(*)", there),
        query("features_of_document", document=DOCUMENT, by="max"),
    ],
)
def test_firings__read_no_postings_and_few_tokens(
    lake: Lake, ask: Ask, arrays: Counter[str]
) -> None:
    assert read_by(lake, ask, arrays) <= size(lake, "tokens") < size(lake, "postings") / 8


def test_firings__of_a_document_read_its_row_groups_of_tokens(
    by_shard: Lake, arrays: Counter[str]
) -> None:
    one, every = (
        read_by(by_shard, select("max(token_id), max(document)", condition), arrays)
        for condition in (f"document = {DOCUMENT}", "token_id >= 0")
    )
    assert one < every / 2


def test_postings__are_read_by_feature_once_compacted_and_by_row_before(
    by_shard: Lake, by_feature: Lake, arrays: Counter[str]
) -> None:
    by_one = select("*", "feature = 3", "postings")
    by_row = select("*", there, "postings")
    assert read_by(by_feature, by_one, arrays) < size(by_feature, "postings") / 8
    assert read_by(by_shard, by_row, arrays) < size(by_shard, "postings") / 4
    # What makes ``firings`` worth having: by row, all of what lies by feature is read.
    assert read_by(by_feature, by_row, arrays) > size(by_feature, "postings") * 0.9
    narrow = select('"row"', "feature = 3", "postings")
    assert read_by(by_shard, narrow, arrays) < read_by(by_shard, by_one, arrays) / 2
    assert not arrays
