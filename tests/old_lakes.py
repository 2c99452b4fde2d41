"""Small lakes of earlier versions, and what they said: ``python -m tests.old_lakes`` adds today's.

Every later version must read them; see ``test_old_lakes``. Run it at a release, and when the
schema or the format has changed since the last one here, and commit what it wrote in ``data``.
"""

import gzip
import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from actlake import sql
from actlake.storage.fields import TABLES
from actlake.storage.lake import Lake
from actlake.storage.settings import actlake_version
from tests.flows import history

__all__ = ["DATA", "columns_of", "said", "unpack", "write"]

DATA = Path(__file__).with_name("data")
CHANGED_BY_OPENING = ("migrations",)
"""Tables to which a later version adds rows as it opens an older lake."""

Columns = Mapping[str, Sequence[str]]


def columns_of(lake: Lake) -> dict[str, list[str]]:
    """The columns of every table."""
    tables = [name for name in TABLES if name not in CHANGED_BY_OPENING]
    return {name: lake.table(name).collect_schema().names() for name in tables}


def said(lake: Lake, columns: Columns) -> dict[str, str]:
    """What the lake holds: a hash of the rows of each table, and of what each reader returns."""
    held = {}
    for table, names in columns.items():
        chosen = ", ".join(f'"{name}"' for name in names)
        rows = lake.sql(f"SELECT {chosen} FROM {table}").rows()
        held[f"table {table}"] = _hash(*sorted(map(repr, rows)))
    for (name,) in lake.sql("SELECT tensor FROM tensors").rows():
        tensor = lake.tensor(str(name))
        held[f"tensor {name}"] = _hash(tensor[:].tobytes(), tensor.dtype.name, tensor.shape)
        batches = tensor.batches(16, seed=1)
        held[f"batches of {name}"] = _hash(*(one.tobytes() for one in batches))
    for (name,) in lake.sql("SELECT rowset FROM rowsets").rows():
        rowset = lake.rowset(str(name))
        for column in ("document", "position", "token_id", "char_start", "char_stop"):
            held[f"{column} of {name}"] = _hash(rowset.column(column).tolist())
    for (name,) in lake.sql("SELECT codes FROM codes").rows():
        codes = lake.codes(str(name))
        held[f"codes {name}"] = _hash(codes[:].dense().tolist())
        postings = [codes.postings(feature).rows() for feature in range(codes.n_features)]
        held[f"postings of {name}"] = _hash(postings)
        contexts = lake.contexts(str(name), 1, limit=3)
        shown = [(one.row, one.value, one.text, one.start, one.stop) for one in contexts]
        held[f"contexts of {name}"] = _hash(shown)
    for (name,) in lake.sql("SELECT dictionary FROM dictionaries").rows():
        one = lake.dictionary(str(name))
        arrays = [(key, one.arrays[key].tolist()) for key in sorted(one.arrays)]
        held[f"dictionary {name}"] = _hash(one.config, arrays)
    return held


def _hash(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(repr, parts)).encode()).hexdigest()


def write(folder: Path) -> Path:
    """A lake of this version in ``folder``, packed, with what it says beside it."""
    name = f"lake-{actlake_version()}-schema-{len(sql.names('schema'))}"
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "lake"
        with closing(history.build(path)) as lake:
            columns, snapshot = columns_of(lake), lake.newest_snapshot()
            lake.pin("before a mask")
            lake.create_mask("later", "position > 1")
            facts: dict[str, Any] = {
                "columns": columns,
                "said": said(lake, columns),
                "earlier": {"snapshot": snapshot, "said": said(lake.at(snapshot), columns)},
            }
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(path, "lake")
    file = folder / f"{name}.tar.gz"
    file.write_bytes(gzip.compress(packed.getvalue(), mtime=0))
    file.with_name(f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    return file


def unpack(file: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The lake in ``file``, now below ``folder``, and what it said when it was written."""
    with tarfile.open(file) as archive:
        archive.extractall(folder, filter="data")
    facts = file.with_name(file.name.replace(".tar.gz", ".json"))
    return folder / "lake", json.loads(facts.read_text("utf-8"))


if __name__ == "__main__":
    print(write(DATA))
