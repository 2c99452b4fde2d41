"""Lakes to test on: an empty one to write into, and one whose every value is planted.

Connecting DuckDB takes half a second, so most tests share ``bench`` and write under names of
their own; what damages or moves a lake works on a copy.
"""

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from actlake.storage import Csr, Document, Lake, Rowset
from actlake.storage.codes_writer import (
    CodesPlan,
    commit_codes,
    plan_codes,
    publish_codes,
    seal_codes,
)
from actlake.storage.csr import csr_from_dense
from actlake.storage.dictionary_files import write_dictionary
from actlake.storage.run import Run
from actlake.storage.settings import FOLDERS
from tests.postgres import Server
from tests.shared import made_once

WIDTH, FEATURES = 6, 40
WORDS = "naïve 日本語 👩‍🚀 go café x ok the of and".split()
DTYPES = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float32": np.float32,
    "int8": np.float32,
}
"""What is read of each stored dtype."""

_names = itertools.count()


def fresh_name(prefix: str = "n") -> str:
    """A name that no other test uses."""
    return f"{prefix}{next(_names)}"


@pytest.fixture(scope="session")
def empty_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake as ``create`` leaves it. Do not write to it: copy it."""
    root = tmp_path_factory.mktemp("lakes") / "empty"
    Lake.create(root).close()
    return root


@pytest.fixture
def fresh(empty_lake: Path, tmp_path: Path) -> Iterator[Lake]:
    """An empty lake of the test's own."""
    lake = Lake.open(shutil.copytree(empty_lake, tmp_path / "lake"))
    yield lake
    lake.close()


@pytest.fixture(scope="session")
def bench(planted: "Planted", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A copy of the planted lake that everybody writes to, under fresh names."""
    lake = Lake.open(shutil.copytree(planted.root, tmp_path_factory.mktemp("lakes") / "bench"))
    yield lake
    lake.close()


@pytest.fixture(scope="session")
def postgres_lake(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A lake with its catalog in Postgres that everybody writes to, under fresh names."""
    root = tmp_path_factory.mktemp("lakes") / "postgres"
    lake = Lake.create(root, catalog=f"postgres:{postgres.database()}")
    yield lake
    lake.close()


@dataclass(frozen=True)
class Planted:
    """A lake, and what was put into it."""

    root: Path
    lake: Lake
    documents: list[Document]
    columns: dict[str, NDArray[Any]]
    tensors: dict[str, NDArray[Any]]
    """What is read, by stored dtype; the names are ``t:float16`` and so on."""
    codes: NDArray[np.float32]
    """Dense, of the codes ``d@c``."""


@pytest.fixture(scope="session")
def planted(empty_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    """A lake with every kind of thing in it. Do not write to it."""
    root = made_once(
        tmp_path_factory, "planted-lake", lambda path: _plant(shutil.copytree(empty_lake, path))
    )
    lake = Lake.open(root)
    tensors, codes, _ = plant_values(lake.rowset("c@w"))
    yield Planted(root, lake, *plant_documents(), tensors, codes)
    lake.close()


def _plant(path: Path) -> None:
    lake = Lake.open(path)
    documents, columns = plant_documents()
    lake.create_corpus("c", documents)
    rowset = lake.create_rowset("c@w", corpus="c", columns=columns, tokenizer="w")
    tensors, codes, decoder = plant_values(rowset)
    for name, values in tensors.items():
        with lake.create_tensor(f"t:{name}", rowset="c@w", width=WIDTH, dtype=name) as writer:
            writer.append(values)
    with lake.run("test", {}, {}) as run:
        write_dictionary(
            run,
            name="d",
            method="topk",
            tensor="t:float32",
            n_features=FEATURES,
            width=WIDTH,
            config={"k": 3},
            arrays={"decoder": decoder},
            fingerprint="d",
            tables={},
        )
        write_codes(run, codes_plan("d@c", rowset), csr_from_dense(codes, dtype="float16"))
    lake.close()


def plant_values(
    rowset: Rowset,
) -> tuple[dict[str, NDArray[Any]], NDArray[np.float32], NDArray[np.float32]]:
    """The same at every call: the tensors, the dense codes, the decoder."""
    rng = np.random.default_rng(0)
    tensors = {
        name: plant_whole(rowset.rows)
        if name == "int8"
        else rng.normal(size=(rowset.rows, WIDTH)).astype(DTYPES[name])
        for name in DTYPES
    }
    codes = plant_codes(rng, rowset)
    return tensors, codes, rng.normal(size=(FEATURES, WIDTH)).astype(np.float32)


def plant_documents() -> tuple[list[Document], dict[str, NDArray[Any]]]:
    """Seven documents of words, and their rows: a special one first, then one a word."""
    rng = np.random.default_rng(7)
    documents, rows = [], []
    for index, size in enumerate((5, 1, 9, 3, 8, 2, 2)):
        words = [WORDS[i] for i in rng.integers(len(WORDS), size=size)]
        text = " ".join(words)
        documents.append(
            Document(f"id{index}", text, {"year": 1900 + index, "even": index % 2 == 0})
        )
        rows.append((index, -1, 0, 0, True))
        start = 0
        for word in words:
            rows.append((index, WORDS.index(word), start, start + len(word), False))
            start += len(word) + 1
    names = ("document", "token_id", "char_start", "char_stop", "is_special")
    columns = {
        name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    return documents, columns


def plant_whole(rows: int) -> NDArray[np.float32]:
    """Rows that int8 with a scale holds exactly: whole numbers, ±127 among them, times a power of
    two; one of zeros."""
    rng = np.random.default_rng(8)
    whole = rng.integers(-127, 128, (rows, WIDTH))
    whole[np.arange(rows), rng.integers(0, WIDTH, rows)] = rng.choice([-127, 127], rows)
    whole[5] = 0
    return np.asarray(whole * 2.0 ** rng.integers(-9, 9, (rows, 1)), np.float32)


def plant_codes(rng: np.random.Generator, rowset: Rowset) -> NDArray[np.float32]:
    """Dense values that float16 holds exactly; one shard of them, and one feature, without any."""
    dense = rng.uniform(0.1, 9, size=(rowset.rows, FEATURES)).astype(np.float16)
    dense[rng.random(dense.shape) < 0.9] = 0
    start, stop = rowset.grid.span(2)
    dense[start:stop] = 0
    dense[:, 5] = 0
    return dense.astype(np.float32)


def codes_plan(
    name: str, rowset: Rowset, *, dtype: str = "float16", features: int = FEATURES
) -> CodesPlan:
    return CodesPlan(
        name=name,
        dictionary="d",
        dictionary_fingerprint="d",
        n_features=features,
        tensor="t:float32",
        tensor_fingerprint="t",
        rowset=rowset,
        dtype=dtype,
    )


def write_codes(run: Run, plan: CodesPlan, block: Csr) -> str:
    """Encode, commit and seal every shard of ``block``; the id of the codes."""
    codes_id = plan_codes(run, plan)
    shard_of_row = np.arange(block.rows) // plan.rowset.shard_rows
    shards = [
        publish_codes(run, plan, codes_id, shard, block.keep(shard_of_row == shard))
        for shard in range(len(plan.rowset.grid))
    ]
    commit_codes(run, shards, "every shard")
    seal_codes(run, plan, codes_id)
    return codes_id


def make_rowset(lake: Lake, rows: int, *, width_hint: int = 4096) -> Rowset:
    """A rowset of one row a document over a corpus of its own."""
    corpus, name = fresh_name("corpus"), fresh_name("rowset")
    lake.create_corpus(corpus, [Document(str(i), f"text {i} of {corpus}") for i in range(rows)])
    return lake.create_rowset(
        name, corpus=corpus, columns={"document": np.arange(rows)}, width_hint=width_hint
    )


def content(lake: Lake) -> dict[str, str]:
    """What a lake is: a hash of each file, and which files its tables consist of.

    Left out are the lock and the SQLite files, whose content is asked for.
    """
    store, root = lake.store, lake.root
    paths = [one for one in root.iterdir() if one.is_file()]
    paths += [one.path for name in FOLDERS for one in store.files(root / name)]
    found = {
        path.relative_to(root).as_posix(): store.digest(path).xxh3_128
        for path in paths
        if ".sqlite" not in path.name and path.name != "catalog.lock"
    }
    files = lake._connection().execute(
        "SELECT 'data' AS kind, path, begin_snapshot, end_snapshot "
        "FROM __ducklake_metadata_lake.ducklake_data_file UNION ALL "
        "SELECT 'delete', path, begin_snapshot, end_snapshot "
        "FROM __ducklake_metadata_lake.ducklake_delete_file ORDER BY ALL"
    )
    return found | {
        "tables": repr(files.fetchall()),
        "names": repr(lake._claims.names()),
        "pins": repr(lake._claims.pins()),
    }


def payloads(lake: Lake, tensor: str) -> dict[str, bytes]:
    """Every file of a tensor's folder, by name."""
    folder = lake.tensor(tensor).folder
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def python(code: str, *arguments: object, **options: Any) -> "subprocess.Popen[str]":
    """A Python process that runs ``code``, with its output in pipes."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **options,
    )


@pytest.fixture(scope="module")
def undisturbed(bench: Lake) -> dict[str, bytes]:
    return _written("float16", bench)


@pytest.fixture(scope="module")
def undisturbed_int8(bench: Lake) -> dict[str, bytes]:
    return _written("int8", bench)


def _written(dtype: str, bench: Lake) -> dict[str, bytes]:
    from tests.storage.written import written_whole  # which has its names from here

    return written_whole(bench, dtype)
