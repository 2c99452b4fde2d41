"""Readers that verify return what was committed, or an error that says where it is not."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from actlake.storage import Lake
from actlake.storage.durable import replace_file
from actlake.storage.errors import CorruptError, InputError, QueryError
from tests.storage.conftest import Planted
from tests.storage.damaged import flipped, of_tensor, rotten

Read = Callable[[Lake], object]


@pytest.fixture(scope="module")
def root(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake whose tests put back what they damage."""
    return Path(shutil.copytree(planted.root, tmp_path_factory.mktemp("reading") / "lake"))


@pytest.fixture(scope="module")
def always(root: Path) -> Iterator[Lake]:
    with closing(Lake.open(root, verify="always")) as lake:
        yield lake


def of_table(root: Path, table: str) -> Path:
    """The largest file of a table."""
    files = (root / "tables/main" / table).glob("*.parquet")
    return max(files, key=lambda file: file.stat().st_size)


def receipts_of(root: Path, owner: str) -> Path:
    """A file of the table shards that holds receipts of ``owner``."""
    files = (root / "tables/main/shards").glob("*.parquet")
    return next(file for file in files if owner in pq.read_table(file)["owner"].to_pylist())


def of_codes(root: Path) -> Path:
    return next((root / "codes").iterdir())


def of_rowset(root: Path) -> Path:
    return next((root / "rowsets").iterdir())


DAMAGES: dict[str, tuple[Callable[[Path], Path], tuple[str, ...], tuple[Read, ...]]] = {
    "tensor": (
        lambda root: of_tensor(root) / "c.1.0",
        ("tensor t:float32, rows 4 to 8",),
        (
            lambda lake: lake.tensor("t:float32")[:],
            lambda lake: lake.tensor("t:float32").rows(np.array([7, 0])),
            lambda lake: lake.tensor("t:float32").shard(1),
            lambda lake: list(lake.tensor("t:float32").batches(4, seed=0)),
        ),
    ),
    "attributes": (
        lambda root: of_tensor(root) / "zarr.json",
        ("tensor t:float32",),
        (lambda lake: lake.tensor("t:float32").attributes(),),
    ),
    "codes": (
        lambda root: of_codes(root) / "1/values/c.0",
        ("values of codes d@c, rows 4 to 8",),
        (
            lambda lake: lake.codes("d@c")[:],
            lambda lake: lake.codes("d@c").shard(1),
            lambda lake: lake.codes("d@c").scan().collect(),
        ),
    ),
    "rowset": (
        lambda root: of_rowset(root) / "document/c.1",
        ("document of rowset c@w, rows 4 to 8",),
        (
            lambda lake: lake.rowset("c@w").column("document"),
            lambda lake: lake.rowset("c@w").at("document", np.array([5])),
            lambda lake: lake.contexts("d@c", 0),
        ),
    ),
    "postings": (
        lambda root: of_table(root, "postings"),
        ("table postings",),
        (lambda lake: [lake.codes("d@c").postings(feature) for feature in range(0, 40, 4)],),
    ),
    "documents": (
        lambda root: of_table(root, "documents"),
        ("table documents",),
        (lambda lake: lake.contexts("d@c", 0),),
    ),
    "masks": (
        lambda root: of_table(root, "masks"),
        ("table masks",),
        (lambda lake: lake.mask("no_special"),),
    ),
    "tokens": (
        lambda root: of_table(root, "tokens"),
        ("table tokens",),
        (lambda lake: lake.mask_rows(lake.mask("no_special"), lake.rowset("c@w"), 0, 4),),
    ),
    "receipts": (
        lambda root: receipts_of(root, of_tensor(root).name),
        ("table shards",),
        (lambda lake: lake.tensor("t:float32"),),
    ),
    "dictionary": (
        lambda root: next(root.glob("dictionaries/*/dictionary.safetensors")),
        ("dictionary d",),
        (lambda lake: lake.dictionary("d"),),
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_readers__refuse_what_was_not_committed(root: Path, always: Lake, damage: str) -> None:
    find, words, reads = DAMAGES[damage]
    file = find(root)
    with closing(Lake.open(root)) as fresh, flipped(file):
        for read in reads:
            for lake in (fresh, always):
                with pytest.raises(CorruptError, match="actlake repair") as caught:
                    read(lake)
                for word in (*words, str(file), "is not what was committed"):
                    assert word in str(caught.value)
                assert len(str(caught.value).splitlines()) == 1
    for read in reads:
        read(always)  # and nothing else is wrong


def test_readers__find_whole_chunks_of_other_rows(root: Path) -> None:
    """Swapped, or an older one come back: the trailers are right."""
    files = [of_tensor(root) / f"c.{shard}.0" for shard in (0, 1)]
    contents = [file.read_bytes() for file in files]
    with closing(Lake.open(root, verify="always")) as lake:
        tensor = lake.tensor("t:float32")
        for file, content in zip(files, reversed(contents), strict=True):
            replace_file(file, content)
        try:
            for shard in (0, 1):
                with pytest.raises(CorruptError, match=rf"c\.{shard}\.0 .* not what was comm"):
                    tensor.shard(shard)
        finally:
            for file, content in zip(files, contents, strict=True):
                replace_file(file, content)


def test_modes__look_never_once_or_always(root: Path, planted: Planted) -> None:
    file, rows = of_tensor(root) / "c.1.0", planted.tensors["float32"]
    with (
        closing(Lake.open(root)) as once,
        closing(Lake.open(root, verify="always")) as always,
        closing(Lake.open(root, verify="never")) as never,
    ):
        for lake in (once, always, never):
            np.testing.assert_array_equal(lake.tensor("t:float32")[:], rows)
        with rotten(file):
            damaged = never.tensor("t:float32")[4:8]
            np.testing.assert_array_equal(once.tensor("t:float32")[4:8], damaged)
            assert (damaged != rows[4:8]).sum() == 1
            with pytest.raises(CorruptError):
                always.tensor("t:float32").shard(1)
            with pytest.raises(CorruptError), closing(Lake.open(root)) as lake:  # another's first
                lake.tensor("t:float32").shard(1)
    with pytest.raises(InputError, match="never, first-read, always, not 'sometimes'"):
        Lake.open(root, verify="sometimes")  # type: ignore[arg-type]


def test_always__returns_the_bytes_that_it_checked(root: Path) -> None:
    with closing(Lake.open(root, verify="always")) as lake:
        rows = lake.tensor("t:float32").shard(1)
        before = rows.copy()
        file = of_tensor(root) / "c.1.0"
        with flipped(file):
            np.testing.assert_array_equal(rows, before)
        with pytest.raises(ValueError, match="read-only"):
            rows[0] = 1
        last = len(lake.tensor("t:float32").grid) - 1  # which is padded
        start, stop = lake.tensor("t:float32").grid.span(last)
        assert lake.tensor("t:float32").shard(last).shape == (stop - start, 6)


def test_sql__is_checked_where_always_is_asked_for(root: Path) -> None:
    queries = (
        "SELECT count(*) FROM documents",
        "SELECT count(*) FROM tokens_text",  # a view of it
        "WITH d AS (FROM documents) SELECT count(*) FROM tokens JOIN d USING (document)",
    )
    with closing(Lake.open(root, verify="always")) as lake, closing(Lake.open(root)) as once:
        for query in queries:
            lake.sql(query).rows()
        with flipped(of_table(root, "documents"), -12):  # in what a count does not read
            for query in queries:
                with pytest.raises(CorruptError, match="table documents"):
                    lake.sql(query)
            with pytest.raises(CorruptError, match="table documents"):
                lake.table("documents")
            assert lake.sql("SELECT count(*) FROM tokens").rows()
            assert once.sql("SELECT 1").rows()
        with pytest.raises(QueryError):
            lake.sql("DELETE FROM documents")


def test_postings__check_only_files_that_may_hold_the_feature(root: Path) -> None:
    with closing(Lake.open(root, verify="always")) as lake:
        codes = lake.codes("d@c")
        [row, *_] = codes.postings(17)["row"]
        shard = row // codes.grid.shard_rows
        receipts: dict[int, str] = dict(
            lake.sql(
                "SELECT shard, xxh3_128 FROM shards WHERE \"array\" = 'postings' AND bytes > 0"
            ).rows()  # type: ignore[arg-type]  # rows of two
        )
        path_of = {one.xxh3_128: path for path, one in lake._claims.files().items()}
        elsewhere = [
            path_of[hash_]
            for other, hash_ in receipts.items()
            if codes.shard(other).indices.max() < 17 or codes.shard(other).indices.min() > 17
        ]
        with flipped(root / path_of[receipts[shard]]), pytest.raises(CorruptError):
            codes.postings(17)
        for path in elsewhere:
            with flipped(root / path):
                assert row in codes.postings(17)["row"]
