"""Lakes whose files are in a bucket: what is made, what is told, and copies that come and go."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from actlake.storage import Document, Lake
from actlake.storage import copies as module
from actlake.storage.arrays import sound_content
from actlake.storage.bucket import Bucket, access
from actlake.storage.copies import Copies
from actlake.storage.errors import (
    CorruptError,
    FormatError,
    InputError,
    LakeError,
    QueryError,
    UnreachableError,
)
from actlake.storage.s3_store import S3Store
from tests.s3 import CREDENTIALS, Objects

ROWS, WIDTH = 20, 4


@pytest.fixture(scope="module")
def lake(s3: Objects, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A lake with a tensor. Do not write to it."""
    lake = Lake.create(tmp_path_factory.mktemp("lakes") / "lake", store=f"{s3.place()}/deep/er/")
    lake.create_corpus("c", [Document(str(i), f"text {i}") for i in range(ROWS)])
    lake.create_rowset("r", corpus="c", columns={"document": np.arange(ROWS)})
    with lake.create_tensor("t", rowset="r", width=WIDTH, dtype="float32") as writer:
        writer.append(np.ones((ROWS, WIDTH), np.float32))
    yield lake
    lake.close()


def s3_of(lake: Lake) -> S3Store:
    assert isinstance(lake.store, S3Store)
    return lake.store


def chunk(lake: Lake) -> Path:
    return lake.tensor("t").folder / "c.0.0"


def test_create__puts_what_the_catalog_names_in_the_bucket(lake: Lake) -> None:
    url = lake.settings.store.url
    assert url.endswith("/deep/er")
    there = {one.key for one in Bucket(url, access(url)).below("")}
    named = {one for one in lake._claims.files() if one != "lake.toml"}
    assert named <= there
    assert {one.partition("/")[0] for one in there} == {"lake", "tables", "rowsets", "tensors"}
    assert [*lake.root.glob("tables/**/*.parquet")] == []


def test_another_machine__needs_lake_toml_and_the_catalog(lake: Lake, tmp_path: Path) -> None:
    for name in ("lake.toml", "catalog.sqlite", "claims.sqlite"):
        (tmp_path / name).write_bytes((lake.root / name).read_bytes())
    other = Lake.open(tmp_path)
    assert other.tensor("t")[:].sum() == ROWS * WIDTH
    assert other.sql("SELECT count(*) FROM documents").rows() == [(ROWS,)]
    other.close()


def test_secrets__are_nowhere(lake: Lake) -> None:
    for path in lake.root.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(one.encode() in content for one in CREDENTIALS.values()), path
    assert not any(one in repr(vars(lake.store)) for one in CREDENTIALS.values())
    with pytest.raises(QueryError, match="refused"):
        lake.sql("SELECT * FROM duckdb_secrets()")
    url = lake.settings.store.url
    with pytest.raises(QueryError):
        lake.sql(f"SELECT * FROM '{url}/tables/main/documents/x.parquet'")


def test_verify__reads_the_bucket_and_no_copy(lake: Lake) -> None:
    path = chunk(lake)
    whole = b"".join(lake.store.pieces(path))
    assert lake.store.local(path).read_bytes() == whole
    s3_of(lake)._bucket.put(s3_of(lake)._named(path), b"\x01" + whole[1:])
    try:
        [fault] = lake.verify()
        assert (fault.path, fault.row_start) == (path.relative_to(lake.root).as_posix(), 0)
        assert path.read_bytes() == whole
    finally:
        lake.store.replace(path, whole)
    assert not path.exists()  # a copy may be of what was there before
    assert [*lake.verify()] == []


def test_connections__keep_what_they_fetched(lake: Lake) -> None:
    asked = "SELECT current_setting('enable_external_file_cache')"
    assert lake._reader.fresh_handle().raw.execute(asked).fetchone() == (True,)


def test_copy__that_rots_is_fetched_again(lake: Lake) -> None:
    fresh = Lake.open(lake.root)
    path = fresh.store.local(chunk(lake))
    for content in (b"\x01" + path.read_bytes()[1:], b"short"):
        path.write_bytes(content)
        fresh.reading.forget()
        assert fresh.tensor("t")[:].sum() == ROWS * WIDTH
    fresh.close()


def test_object__that_has_rotted_is_told_and_not_fetched_for_ever(lake: Lake) -> None:
    asked = 0

    def sound(content: bytes) -> bool:
        nonlocal asked
        asked += 1
        return False

    with pytest.raises(CorruptError, match=r"\(it\) is not what was committed"):
        sound_content(lake.store, chunk(lake), "it", sound)
    assert asked == 2


def test_copies__that_are_used_least_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTLAKE_CACHE_BYTES", "1000")
    monkeypatch.setattr(module, "KEPT_SECONDS", -1.0)
    copies = Copies([tmp_path / "tensors"])
    paths = [tmp_path / "tensors" / str(i) for i in range(12)]
    (tmp_path / "tensors").mkdir()
    (tmp_path / "tensors" / ".x.tmp").write_bytes(b"0" * 5000)
    for at, path in enumerate(paths[:9]):
        copies.keep(path, [b"0" * 100])
        os.utime(path, (at, at))
    mapped = np.memmap(paths[1], np.uint8, mode="r")
    assert copies.there(paths[0])  # so that it is used last
    for path in paths[9:11]:
        copies.keep(path, [b"0" * 50, b"0" * 50])
    left = {path for path in paths if path.exists()}
    assert left == {paths[0], *paths[3:11]}
    assert not copies.there(paths[1])
    assert mapped[99] == ord("0")
    monkeypatch.setattr(module, "KEPT_SECONDS", 60.0)
    copies.keep(paths[11], [b"0" * 1000])
    assert paths[11].exists()
    monkeypatch.setenv("ACTLAKE_CACHE_BYTES", "much")
    with pytest.raises(InputError, match="whole number of bytes"):
        Copies([])


def test_tidy__forgets_copies_of_what_others_removed(s3: Objects, tmp_path: Path) -> None:
    lake = Lake.create(tmp_path / "lake", store=s3.place())
    kept, gone = (lake.root / "partials" / f"{name}.safetensors" for name in ("kept", "gone"))
    for path in (kept, gone):
        lake.store.publish(path, [b"1"])
    s3_of(lake)._bucket.delete([s3_of(lake)._named(gone)])
    lake.store.tidy()
    assert (kept.exists(), gone.exists()) == (True, False)
    lake.close()


def test_open__of_another_lakes_place_is_refused(lake: Lake, s3: Objects, tmp_path: Path) -> None:
    for name in ("catalog.sqlite", "claims.sqlite"):
        (tmp_path / name).write_bytes((lake.root / name).read_bytes())
    said = (lake.root / "lake.toml").read_text()
    other = Lake.create(tmp_path / "other", store=s3.place())
    for url, words in ((other.settings.store.url, "another lake"), (s3.place(), "no lake")):
        (tmp_path / "lake.toml").write_text(said.replace(lake.settings.store.url, url))
        with pytest.raises(FormatError, match=f"{url} is {words}; correct lake.toml"):
            Lake.open(tmp_path)
    other.close()


@pytest.mark.parametrize(
    "store",
    ["s3://", "s3://k:s@bucket/x", "s3://bucket/../x", "s3://bucket/a*", "gs://b/x", "/folder"],
)
def test_create__refuses_what_is_no_place(store: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a store is `folder`, or `s3://bucket/prefix`") as caught:
        Lake.create(tmp_path / "lake", store=store)
    assert store not in str(caught.value) or store == "s3://"
    assert not (tmp_path / "lake").exists()


def test_create__where_something_is_is_refused(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds something already; name an empty place"):
        Lake.create(tmp_path / "lake", store=lake.settings.store.url)
    assert not (tmp_path / "lake").exists()


def test_create__says_what_is_missing(
    s3: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(url: str, words: str, kind: type[LakeError] = UnreachableError) -> None:
        with pytest.raises(kind, match=words) as caught:
            Lake.create(tmp_path / "lake", store=url)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "lake").exists()

    monkeypatch.setenv("ACTLAKE_STORE_SECONDS", "0.3")
    place = s3.place()
    refused("s3://nobodys-bucket/x", r"there is no such bucket \(404 Not Found, NoSuchBucket\)")
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        refused(place, r"cannot be had \(no connection\); see that http://127.0.0.1:9 runs")
    with monkeypatch.context() as patch:
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        refused(place, "needs credentials; set AWS_ACCESS_KEY_ID")
    with monkeypatch.context() as patch:
        patch.setattr("actlake.storage.bucket.find_spec", lambda name: None)
        refused(place, r"needs obstore; run `pip install 'actlake\[s3\]'`", LakeError)
    monkeypatch.setenv("ACTLAKE_STORE_SECONDS", "soon")
    refused(place, "no number of seconds", InputError)
