"""repair: what was committed is there again, to the byte; of the rest it is said what to do."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from actlake.flows.encode import encode, encoder_of
from actlake.flows.maintain import maintain
from actlake.flows.repair import Repaired, repair
from actlake.flows.summarize import summarize
from actlake.storage import Lake
from actlake.storage.committed import CommittedFile
from actlake.storage.csr import Csr, csr_from_dense
from actlake.storage.dictionary_files import DictionaryFile
from actlake.storage.durable import digest
from actlake.storage.errors import CorruptError, InputError
from actlake.storage.local_store import LocalStore
from actlake.storage.repair import put_back
from actlake.storage.settings import FOLDERS
from actlake.storage.table_files import live_files
from tests.flows.commands import Cli, ok
from tests.flows.places import PLACES, Place, Servers, place_of
from tests.flows.tiny import fill, learn, save_model

TENSOR = "tiny-llama:resid_post.1@c"
ONLY: dict[str, bool | int | None] = {
    "merge": False, "verify_parts": 0, "expire_days": None, "grace_hours": None, "compact": False,
}  # fmt: skip


@pytest.fixture(scope="module", params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    return place_of(request)


@pytest.fixture(scope="module")
def whole(
    place: Place,
    dictionary_lake: Path,
    tiny: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A lake with codes, a summary and, where it can, a backup; fork it before it is damaged."""
    root = tmp_path_factory.mktemp("whole") / "lake"
    if isinstance(place, Servers):
        documents = dictionary_lake.with_name("documents.jsonl")
        lake = learn(fill(place.create(root), documents, [tiny("llama")]), tiny("llama"))
    else:
        lake = Lake.open(place.fork(dictionary_lake, root))
    encode(lake, dictionary="d")
    summarize(lake, codes="d@c", mask="no_special")
    maintain(lake, **ONLY)  # type: ignore[arg-type]  # mixed
    lake.close()
    return root


@pytest.fixture
def lake(place: Place, whole: Path, tmp_path: Path) -> Iterator[Lake]:
    lake = Lake.open(place.fork(whole, tmp_path / "lake"))
    yield lake
    lake.close()


def content(lake: Lake, path: Path) -> bytes:
    return b"".join(lake.store.pieces(path))


def flip(lake: Lake, path: Path) -> None:
    spoilt = bytearray(content(lake, path))
    spoilt[len(spoilt) // 2] ^= 16
    lake.store.replace(path, spoilt)


def shorten(lake: Lake, path: Path) -> None:
    lake.store.replace(path, content(lake, path)[:-3])


def remove(lake: Lake, path: Path) -> None:
    lake.store.remove(path)


def swap(lake: Lake, one: Path, other: Path) -> None:
    first, second = content(lake, one), content(lake, other)
    lake.store.replace(one, second)
    lake.store.replace(other, first)


def files(lake: Lake) -> dict[str, tuple[datetime, bytes]]:
    """When it was written, and content, of every file that is never written again."""
    return {
        one.path.relative_to(lake.root).as_posix(): (
            lake.store.written(one.path),
            content(lake, one.path),
        )
        for name in (*FOLDERS, "backups", "lake.toml")
        for one in lake.store.files(lake.root / name)
    }


def table_files(lake: Lake, table: str) -> list[Path]:
    found = lake.store.files(lake.root / "tables/main" / table)
    return [one.path for one in sorted(found, key=lambda one: one.bytes)]


def repaired(
    lake: Lake, damaged: set[Path], before: dict[str, tuple[datetime, bytes]]
) -> list[Repaired]:
    """What ``repair`` did, which is all that had to be done, and nothing else."""
    names = {path.relative_to(lake.root).as_posix() for path in damaged}
    assert {one.path for one in lake.verify()} == names
    found = repair(lake)
    assert {one.path for one in found} == names
    assert [str(one) for one in found if not one.done] == []
    after = files(lake)
    assert {name: after[name][1] for name in before} == {
        name: one[1] for name, one in before.items()
    }
    assert {name for name in before if after[name][0] != before[name][0]} <= names
    assert [*lake.verify()] == []
    return found


def test_repair__puts_back_what_the_lake_can_tell(lake: Lake, place: Place) -> None:
    before = files(lake)
    tensor, codes = lake.tensor(TENSOR).folder, lake.codes("d@c").folder
    rowset = lake.codes("d@c").rowset.folder
    [dictionary] = lake.store.children(lake.root / "dictionaries")
    partials = lake.store.children(lake.root / "partials")
    damages: dict[Callable[[Lake, Path], object], list[Path]] = {
        flip: [
            tensor / "c.0.0",
            codes / "1/indices/c.0",
            codes / "2/values/zarr.json",
            rowset / "document/c.1",
            *([lake.root / "lake.toml"] if place.backs_up else []),
            table_files(lake, "postings")[1],
            *partials[:4],
        ],
        shorten: [tensor / "c.1.0", codes / "3/indptr/c.0", rowset / "token_id/c.0", partials[5]],
        remove: [
            tensor / "zarr.json",
            codes / "zarr.json",
            codes / "4/values/c.0",
            dictionary / "config.json",
            rowset / "position/zarr.json",
            rowset / "is_special/c.2",
            table_files(lake, "postings")[2],
        ],
    }
    for damage, paths in damages.items():
        for path in paths:
            damage(lake, path)
    swapped = [tensor / "c.2.0", tensor / "c.3.0"]
    swap(lake, *swapped)
    damaged = {path for paths in damages.values() for path in paths} | {*swapped}

    planned = repair(lake, dry_run=True)
    assert {one.path for one in planned if one.done} == {
        path.relative_to(lake.root).as_posix() for path in damaged
    }
    assert {name: one[1] for name, one in files(lake).items()} != {
        name: one[1] for name, one in before.items()
    }
    found = repaired(lake, damaged, before)
    how = {one.path.split("/")[0]: one.what for one in found if "zarr.json" not in one.path}
    assert "tiny-llama" in how["tensors"]
    assert how["codes"] == "encoded again with d"
    assert how["partials"] == "summarized again"
    assert repair(lake) == []
    runs = lake.sql("SELECT state FROM runs WHERE flow = 'repair'").rows()
    assert runs == [("completed",)]


def test_repair__makes_codes_as_numpy_made_them_where_there_was_no_torch(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without:
        without.setattr("actlake.flows.encode.encoding_device", lambda _: "")
        encode(lake, dictionary="d", codes="by-numpy")
    damaged = lake.codes("by-numpy").folder / "2/values/c.0"
    before = content(lake, damaged)
    flip(lake, damaged)

    class Torch:
        def encode(self, rows: NDArray[np.float32], dtype: str) -> Csr:
            return csr_from_dense(np.ones((len(rows), 3)), dtype=dtype)

    def other_bits(file: DictionaryFile, device: str) -> Any:
        return Torch() if device else encoder_of(file, device)

    monkeypatch.setattr("actlake.flows.repair.encoder_of", other_bits)
    assert [one.done for one in repair(lake)] == [True]
    assert content(lake, damaged) == before


def test_repair__makes_tables_of_arrays_and_compacted_postings_of_codes(lake: Lake) -> None:
    maintain(lake, **ONLY | {"compact": True})  # type: ignore[arg-type]  # mixed
    before = files(lake)
    live = lake.codes("d@c")

    def rows(query: str, **parameters: object) -> list[Any]:
        return lake.reading.connection().execute(query, parameters).fetchall()

    [path] = [one.path for one in live_files(rows, "postings")]
    compacted = lake.root / path
    tokens = table_files(lake, "tokens")[-1]
    flip(lake, compacted)
    flip(lake, tokens)
    with pytest.raises(CorruptError, match="actlake repair"):
        live.postings(0)
    repaired(lake, {compacted, tokens}, before)


def test_repair__says_what_to_do_with_the_rest(
    lake: Lake, tiny: Callable[[str], Path], cli: Cli, tmp_path: Path
) -> None:
    [dictionary] = lake.store.children(lake.root / "dictionaries")
    weights = dictionary / "dictionary.safetensors"
    documents = table_files(lake, "documents")[-1]
    chunk, values = lake.tensor(TENSOR).folder / "c.0.0", lake.codes("d@c").folder / "1/values/c.0"
    other = save_model("llama", tmp_path / "tiny-llama", scale=2.0)
    for path in (weights, documents, chunk, values):
        flip(lake, path)
    before = {name: one for name, (_, one) in files(lake).items()}

    result = cli(lake.root, "repair", "--model", f"tiny-llama={other}")
    assert result.exit_code == 1
    assert "4 fault(s)" in result.stderr.splitlines()[-1]
    told = {one.path: one for one in repair(lake, models=[f"tiny-llama={other}"])}
    after = {name: one for name, (_, one) in files(lake).items() if name in before}
    assert after == before
    assert not any(one.done for one in told.values())
    what = {Path(path).name: one.what for path, one in told.items()}
    assert "train it again" in what["dictionary.safetensors"]
    assert "copy of the lake" in what[documents.name]
    assert "--model tiny-llama=SOURCE" in what["c.0.0"]
    assert "dictionary.safetensors" in what["c.0"]  # it is encoded with what is damaged itself

    shown = cli(lake.root, "repair", "--model", f"tiny-llama={tiny('llama')}")
    assert shown.exit_code == 1
    assert shown.stdout.count("put back, extracted again") == 1
    assert {one.path for one in lake.verify()} == told.keys() - {
        chunk.relative_to(lake.root).as_posix()
    }
    with pytest.raises(InputError, match="NAME=SOURCE"):
        repair(lake, models=["tiny-llama"])


def test_repair__of_a_sound_lake_is_nothing(whole: Path, cli: Cli) -> None:
    before = Lake.open(whole).newest_snapshot()
    assert "is as it was committed" in ok(cli(whole, "repair"))
    assert "is as it was committed" in ok(cli(whole, "repair", "--dry-run"))
    assert Lake.open(whole).newest_snapshot() == before


LIES = {
    "rows and not": "{schema}.ducklake_data_file SET record_count = record_count + 1",
    "bytes and not": "{schema}.ducklake_data_file SET file_size_bytes = file_size_bytes + 4",
    "the catalog has it from": "{schema}.ducklake_data_file SET begin_snapshot = 4096",
    "other bounds or counts of": "{schema}.ducklake_file_column_stats SET max_value = '1'",
}
"""What a catalog may say wrongly of a file; each is told of another one."""
OTHERS = {
    "its content changed": "{schema}.files SET xxh3_128 = 'x' WHERE path = 'lake.toml'",
    "names has another id or": "{schema}.names SET fingerprint = 'x' WHERE kind = 'codes'",
}


@pytest.mark.soak
def test_verify__finds_what_the_databases_say_wrongly(
    whole: Path, place: Place, tmp_path: Path
) -> None:
    root = place.fork(whole, tmp_path / "lake")
    query = """
        SELECT f.data_file_id, max(s.column_id)
        FROM __ducklake_metadata_lake.ducklake_data_file AS f
        INNER JOIN __ducklake_metadata_lake.ducklake_file_column_stats AS s USING (data_file_id)
        WHERE f.end_snapshot IS NULL AND s.max_value > '1' GROUP BY ALL ORDER BY ALL DESC
    """
    with closing(Lake.open(root)) as lake:
        files = lake.reading.connection().execute(query).fetchall()
    for (file, column), lie in zip(files, LIES.values(), strict=False):
        of_column = f" AND column_id = {column}" if "column" in lie else ""
        place.change(root, f"UPDATE {lie} WHERE data_file_id = {file}{of_column}")
    for lie in OTHERS.values():
        place.change(root, f"UPDATE {lie}")
    with closing(Lake.open(root)) as lake:
        found = [one.what for one in lake.verify() if not one.path.startswith("check ")]
    told = [text for what in found for text in (*LIES, *OTHERS) if text in what]
    assert (len(found), sorted(told)) == (len(told), sorted([*LIES, *OTHERS]))


def test_put_back__replaces_nothing_by_other_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"committed")
    committed = CommittedFile("file", "t", digest(tmp_path / "file"))
    (tmp_path / "file").write_bytes(b"damaged")
    inode = (tmp_path / "file").stat().st_ino
    with pytest.raises(CorruptError, match="nothing was replaced"):
        put_back(LocalStore(tmp_path), committed, b"committeD")
    assert ((tmp_path / "file").read_bytes(), (tmp_path / "file").stat().st_ino) == (
        b"damaged",
        inode,
    )
    put_back(LocalStore(tmp_path), committed, b"committed")
    assert (tmp_path / "file").read_bytes() == b"committed"
    with pytest.raises(CorruptError):
        put_back(LocalStore(tmp_path), CommittedFile("file", "t", None), b"committed")
