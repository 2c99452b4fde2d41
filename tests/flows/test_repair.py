"""repair: what was committed is there again, to the byte; of the rest it is said what to do."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actlake.flows.encode import encode
from actlake.flows.maintain import maintain
from actlake.flows.repair import Repaired, repair
from actlake.flows.summarize import summarize
from actlake.storage import Lake
from actlake.storage.committed import CommittedFile
from actlake.storage.durable import digest, replace_file
from actlake.storage.errors import CorruptError, InputError
from actlake.storage.local_store import LocalStore
from actlake.storage.repair import put_back
from actlake.storage.table_files import live_files
from tests.flows.commands import Cli, ok
from tests.flows.tiny import save_model

TENSOR = "tiny-llama:resid_post.1@c"
ONLY: dict[str, bool | int | None] = {
    "merge": False, "verify_parts": 0, "expire_days": None, "grace_hours": None, "compact": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(dictionary_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with codes, a summary and a backup; copy it before it is damaged."""
    root = Path(shutil.copytree(dictionary_lake, tmp_path_factory.mktemp("whole") / "lake"))
    lake = Lake.open(root)
    encode(lake, dictionary="d")
    summarize(lake, codes="d@c", mask="no_special")
    maintain(lake, **ONLY)  # type: ignore[arg-type]  # mixed
    lake.close()
    return root


@pytest.fixture
def lake(whole: Path, tmp_path: Path) -> Iterator[Lake]:
    lake = Lake.open(shutil.copytree(whole, tmp_path / "lake"))
    yield lake
    lake.close()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    replace_file(path, content)


def shorten(path: Path) -> None:
    replace_file(path, path.read_bytes()[:-3])


def swap(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    replace_file(one, second)
    replace_file(other, first)


def files(lake: Lake) -> dict[str, tuple[int, bytes]]:
    """Inode and content of every file that is never written again."""
    return {
        path.relative_to(lake.root).as_posix(): (path.stat().st_ino, path.read_bytes())
        for path in lake.root.rglob("*")
        if path.is_file() and not path.name.startswith(("catalog.", "claims."))
    }


def table_files(lake: Lake, table: str) -> list[Path]:
    return sorted(
        (lake.root / "tables/main" / table).glob("*.parquet"), key=lambda one: one.stat().st_size
    )


def repaired(
    lake: Lake, damaged: set[Path], before: dict[str, tuple[int, bytes]]
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


def test_repair__puts_back_what_the_lake_can_tell(lake: Lake) -> None:
    before = files(lake)
    tensor, codes = lake.tensor(TENSOR).folder, lake.codes("d@c").folder
    rowset, config = lake.codes("d@c").rowset.folder, lake.root / "dictionaries"
    partials = sorted((lake.root / "partials").iterdir())
    damages: dict[Callable[[Path], object], list[Path]] = {
        flip: [
            tensor / "c.0.0",
            codes / "1/indices/c.0",
            codes / "2/values/zarr.json",
            rowset / "document/c.1",
            lake.root / "lake.toml",
            table_files(lake, "postings")[1],
            *partials[:4],
        ],
        shorten: [tensor / "c.1.0", codes / "3/indptr/c.0", rowset / "token_id/c.0", partials[5]],
        Path.unlink: [
            tensor / "zarr.json",
            codes / "zarr.json",
            codes / "4/values/c.0",
            next(config.glob("*/config.json")),
            rowset / "position/zarr.json",
            rowset / "is_special/c.2",
            table_files(lake, "postings")[2],
        ],
    }
    for damage, paths in damages.items():
        for path in paths:
            damage(path)
    swapped = [tensor / "c.2.0", tensor / "c.3.0"]
    swap(*swapped)
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


def test_repair__makes_tables_of_arrays_and_compacted_postings_of_codes(lake: Lake) -> None:
    maintain(lake, **ONLY | {"compact": True})  # type: ignore[arg-type]  # mixed
    before = files(lake)
    live = lake.codes("d@c")

    def rows(query: str, **parameters: object) -> list[Any]:
        return lake.reading.connection().execute(query, parameters).fetchall()

    [path] = [one.path for one in live_files(rows, "postings")]
    compacted = lake.root / path
    tokens = table_files(lake, "tokens")[-1]
    flip(compacted)
    flip(tokens)
    with pytest.raises(CorruptError, match="actlake repair"):
        live.postings(0)
    repaired(lake, {compacted, tokens}, before)


def test_repair__says_what_to_do_with_the_rest(
    lake: Lake, tiny: Callable[[str], Path], cli: Cli, tmp_path: Path
) -> None:
    weights = next((lake.root / "dictionaries").glob("*/dictionary.safetensors"))
    documents = table_files(lake, "documents")[-1]
    chunk, values = lake.tensor(TENSOR).folder / "c.0.0", lake.codes("d@c").folder / "1/values/c.0"
    other = save_model("llama", tmp_path / "tiny-llama", scale=2.0)
    for path in (weights, documents, chunk, values):
        flip(path)
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
