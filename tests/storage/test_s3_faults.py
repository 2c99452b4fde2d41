"""An object store that fails, stalls or loses answers: one clear error, nothing half done, and work
goes on where it was."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from actlake.storage import Document, Lake
from actlake.storage.bucket import Bucket, access
from actlake.storage.errors import CorruptError, InputError, LakeError, UnreachableError
from tests.s3 import CREDENTIALS, FaultyWay, Objects
from tests.storage.conftest import content, fresh_name

ROWS, WIDTH = 20, 4
SECONDS = "0.4"


@pytest.fixture(scope="module")
def way(s3: Objects) -> Iterator[FaultyWay]:
    found = FaultyWay(s3.endpoint)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", found.endpoint)
        patch.setenv("ACTLAKE_STORE_SECONDS", SECONDS)
        yield found
    found.close()


@pytest.fixture(scope="module")
def shared(way: FaultyWay, s3: Objects, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    lake = Lake.create(tmp_path_factory.mktemp("lakes") / "lake", store=s3.place())
    lake.create_corpus("c", [Document(str(i), f"text {i}") for i in range(ROWS)])
    lake.create_rowset("r", corpus="c", columns={"document": np.arange(ROWS)})
    write(lake, "t")
    yield lake
    lake.close()


@pytest.fixture
def lake(shared: Lake, way: FaultyWay) -> Iterator[Lake]:
    """A lake on a way that the test spoils, and that is whole when it ends."""
    yield shared
    way.spoil = nothing


def nothing(method: str, path: str) -> None:
    """Spoil no request."""


def values() -> NDArray[np.float32]:
    return np.arange(ROWS * WIDTH, dtype=np.float32).reshape(ROWS, WIDTH)


def write(lake: Lake, name: str) -> None:
    """Write the tensor ``name``, or what is missing of it."""
    with lake.create_tensor(name, rowset="r", width=WIDTH, dtype="float32") as writer:
        writer.append(values()[writer.next_row :])


def spoiling(
    what: int | str, method: str, within: str, *, after: int = 0, times: int = 1 << 30
) -> Callable[[str, str], int | str | None]:
    """Spoils requests of ``method`` whose path holds ``within``, but the first ``after``."""
    seen = 0

    def spoil(one: str, path: str) -> int | str | None:
        nonlocal seen
        if one != method or within not in path:
            return None
        seen += 1
        return what if after < seen <= after + times else None

    return spoil


def failure(work: Callable[[], Any], kind: type[LakeError] = UnreachableError) -> str:
    """What ``work`` fails with: soon, in one line, without a secret, naming the place."""
    started = time.monotonic()
    with pytest.raises(kind) as caught:
        work()
    said = str(caught.value)
    assert time.monotonic() - started < 8
    assert "\n" not in said
    assert len(said) < 400
    assert not any(value in said for value in CREDENTIALS.values())
    assert "lakes/t" in said
    return said


def another_machine(lake: Lake) -> Lake:
    """The lake without any copies."""
    for one in lake.root.glob("*/*/c.*"):
        one.unlink()
    return Lake.open(lake.root)


SAID: dict[int | str, str] = {
    403: r"is refused to us \(403 Forbidden, Spoilt\); set AWS_ACCESS_KEY_ID",
    503: r"cannot be had \(503 Service Unavailable, Spoilt\); see that http",
    "hang": r"cannot be had \(no answer in time\)",
    "lost": r"cannot be had \(",
    "cut": r"cannot be had \(broke off\)",
}


@pytest.mark.parametrize("what", [503, "hang"])
def test_write__that_cannot_be_ended_is_taken_up_where_it_was(
    what: int | str, lake: Lake, way: FaultyWay
) -> None:
    name = fresh_name()
    way.spoil = spoiling(what, "PUT", "/c.", after=3)
    said = failure(lambda: write(lake, name))
    assert re.search(rf"/tensors/\w+/c.3.0 {SAID[what]}", said)
    way.spoil = nothing
    tensor = lake.tensor(name)
    assert sorted(tensor.committed) == [0, 1, 2]
    way.seen.clear()
    write(lake, name)
    puts = [path for method, path in way.seen if method == "PUT" and "/c." in path]
    assert len(puts) == len(tensor.missing())  # no shard twice
    read = another_machine(lake)
    np.testing.assert_array_equal(read.tensor(name)[:], values())
    read.close()


@pytest.mark.parametrize("what", [503, "lost"])
def test_write__goes_on_where_a_request_fails_once(
    what: int | str, lake: Lake, way: FaultyWay, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = fresh_name()
    monkeypatch.setenv("ACTLAKE_STORE_SECONDS", "2")  # of one try, and of all
    patient = Lake.open(lake.root)
    way.spoil = spoiling(what, "PUT", "/c.", after=3, times=1)
    write(patient, name)
    patient.close()
    np.testing.assert_array_equal(another_machine(lake).tensor(name)[:], values())


@pytest.mark.parametrize("what", [403, 503, "hang", "lost", "cut"])
def test_read__of_a_shard_that_cannot_be_had(what: int | str, lake: Lake, way: FaultyWay) -> None:
    read = another_machine(lake)
    tensor = read.tensor("t")
    way.spoil = spoiling(what, "GET", "/c.", after=2)
    said = failure(lambda: tensor[:])
    assert re.search(rf"/tensors/\w+/c.2.0 {SAID[what]}", said)
    way.spoil = nothing
    assert len([*(lake.root / "tensors").glob("*/.*")]) == 0  # no half of a copy
    np.testing.assert_array_equal(tensor[:], values())
    read.close()


def test_create__that_is_refused_leaves_nothing(
    s3: Objects, way: FaultyWay, lake: Lake, tmp_path: Path
) -> None:
    way.spoil = spoiling(403, "PUT", "/lake")  # who may look, and not write
    said = failure(lambda: Lake.create(tmp_path / "new", store=s3.place()))
    assert re.search(rf"/lake {SAID[403]}", said)
    assert not (tmp_path / "new" / "lake.toml").exists()


def test_create__where_puts_know_no_condition_is_refused(
    s3: Objects, way: FaultyWay, lake: Lake, tmp_path: Path
) -> None:
    way.spoil = spoiling("blind", "PUT", "/lake")
    said = failure(lambda: Lake.create(tmp_path / "new", store=s3.place()), InputError)
    assert "use a store that knows conditional puts" in said


def test_reader__needs_no_right_to_write(lake: Lake, way: FaultyWay) -> None:
    way.spoil = lambda method, path: None if method in ("GET", "HEAD") else 403
    read = another_machine(lake)
    np.testing.assert_array_equal(read.tensor("t")[:], values())
    assert read.sql("SELECT count(*) FROM documents WHERE corpus = 'c'").rows() == [(ROWS,)]
    read.close()


def test_read__of_a_shard_that_is_gone(lake: Lake, way: FaultyWay) -> None:
    read = another_machine(lake)
    tensor = read.tensor("t")
    way.spoil = spoiling(404, "GET", "/c.5")
    with pytest.raises(CorruptError, match=r"c.5.0 \(tensor t, rows 10 to 12\) is missing"):
        tensor[:]
    np.testing.assert_array_equal(tensor[0:10], values()[:10])
    read.close()


@pytest.mark.parametrize("what", [403, 503, "hang", "lost", "cut"])
def test_sql__over_files_that_cannot_be_had(what: int | str, lake: Lake, way: FaultyWay) -> None:
    name = fresh_name()
    lake.create_corpus(name, [Document("a", "text")])  # in a file that no query has read
    query = "SELECT text FROM documents WHERE corpus = $c"
    way.spoil = spoiling(what, "GET", "/documents/")
    failure(lambda: lake.sql(query, c=name).rows())
    way.spoil = nothing
    assert lake.sql(query, c=name).rows() == [("text",)]


def test_sql__over_a_file_that_is_gone(lake: Lake, way: FaultyWay) -> None:
    name = fresh_name()
    lake.create_corpus(name, [Document("a", "text")])
    way.spoil = spoiling(404, "GET", "/documents/")
    query = "SELECT text FROM documents WHERE corpus = $c"
    said = failure(lambda: lake.sql(query, c=name).rows(), CorruptError)
    assert "is missing; run `actlake verify`" in said


@pytest.mark.parametrize(
    ("what", "within"), [(403, "/masks/"), (503, "/runs/"), (500, "/masks/"), ("hang", "/runs/")]
)
def test_commit__whose_files_cannot_be_put_leaves_the_lake_as_it_was(
    what: int, within: str, lake: Lake, way: FaultyWay
) -> None:
    name = fresh_name()
    before = content(lake)
    way.spoil = spoiling(what, "PUT", within)
    failure(lambda: lake.create_mask(name, "position > 4"))
    way.spoil = nothing
    assert lake.sql("SELECT mask FROM masks WHERE mask = $m", m=name).rows() in ([], [(name,)])
    assert {path for path in before if "." in path} <= content(lake).keys()
    assert lake.create_mask(name, "position > 4").predicate == "position > 4"


def test_put__whose_answer_was_lost_is_its_own(s3: Objects, way: FaultyWay) -> None:
    place = s3.place()
    bucket = Bucket(place, replace(access(place), endpoint=way.endpoint, seconds=30.0))
    way.spoil = spoiling("lost", "PUT", "/mine", times=1)
    bucket.create("mine", b"content")
    assert [method for method, path in way.seen if path.endswith("/mine")][:2] == ["PUT", "PUT"]
    bucket.create("theirs", b"other content")
    way.spoil = spoiling(503, "PUT", "/theirs", times=1)
    with pytest.raises(FileExistsError):
        bucket.create("theirs", b"content")
    way.spoil = nothing
    assert b"".join(bucket.pieces("theirs")) == b"other content"


def test_pieces__go_on_where_they_broke_off(s3: Objects, way: FaultyWay) -> None:
    place = s3.place()
    bucket = Bucket(place, replace(access(place), endpoint=way.endpoint, seconds=30.0))
    content = np.random.default_rng(0).bytes(5 << 20)
    bucket.create("large", content)
    way.seen.clear()
    way.spoil = spoiling("cut", "GET", "/large", times=2)
    assert b"".join(bucket.pieces("large")) == content
    assert len(way.seen) == 3
    way.spoil = nothing
