"""Putting back what was committed, byte for byte, where other parts of the lake tell what it was.

Nothing is ever replaced by anything but the bytes whose hash was committed, so a repair cannot make
a lake worse, may be killed at any moment, and may be run again.
"""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import zarr
from xxhash import xxh3_128_hexdigest

from actlake.storage.arrays import chunk_pieces, create_array
from actlake.storage.claims import Claims
from actlake.storage.codes import Codes, codes_named
from actlake.storage.codes_writer import CodesPlan, codes_attributes
from actlake.storage.committed import CommittedFile
from actlake.storage.compaction import Range, postings_in
from actlake.storage.csr import INDPTR, Csr, index_dtype
from actlake.storage.databases import database_found
from actlake.storage.dictionary_files import dictionary_named
from actlake.storage.duck import connect
from actlake.storage.durable import Digest
from actlake.storage.errors import CorruptError, NotFoundError
from actlake.storage.fields import ROW_COLUMNS
from actlake.storage.keys import fingerprint
from actlake.storage.local_store import LocalStore
from actlake.storage.parquet import encode_rows
from actlake.storage.postings import encode_postings, postings_of
from actlake.storage.reading import Reading
from actlake.storage.rowset_writer import token_rows
from actlake.storage.rowsets import Rowset, rowset_named
from actlake.storage.store import Store
from actlake.storage.tensor_arrays import array_folder, create_arrays
from actlake.storage.tensor_writer import TensorPlan, create_tensor
from actlake.storage.tensors import Tensor, tensor_named
from actlake.storage.verify import wrong_of

__all__ = ["Way", "codes_bytes", "current", "mend_settings", "put_back", "way_of"]

FACTS = 10
"""Attributes of a tensor that are in its row, too: those that come first."""
Way = tuple[str, Callable[[], bytes]]
"""How a file can be made again, in words, and what makes its bytes."""
Thing = TypeVar("Thing", Codes, Rowset, Tensor)


def put_back(store: Store, file: CommittedFile, content: bytes) -> None:
    """Make ``content`` the content of ``file``; CorruptError, and nothing changes, if it differs
    from what was committed."""
    found = Digest(len(content), xxh3_128_hexdigest(content))
    if found != file.expected:
        expected = "an unknown number of" if file.expected is None else f"{file.expected.bytes:,}"
        raise CorruptError(
            f"made again it has {found.bytes:,} bytes with hash {found.xxh3_128[:8]}… where "
            f"{expected} bytes with another hash were committed, so nothing was replaced; repair "
            "it where it was made, or put it back from a copy of the lake"
        )
    store.replace(store.root / file.path, content)


def way_of(reading: Reading, file: CommittedFile) -> Way | None:
    """How ``file`` can be made from the rest of the lake without running a model; None if not."""
    match file.kind, file.array, Path(file.path).name:
        case "settings", _, _:
            return "copied from a backup", lambda: _settings(reading.root, file)
        case "dictionary", _, "config.json":
            return "written from its row", lambda: _config(reading, file)
        case "rowset", _, "zarr.json":
            return "written anew", lambda: _column_metadata(reading, file)
        case "rowset", _, _:
            return "read from the table tokens", lambda: _column(reading, file)
        case "tensor", "", _:
            return "written from its row", lambda: _tensor_metadata(reading, file)
        case "tensor", _, "zarr.json":
            return "written anew", lambda: _array_of_tensor(reading, file)
        case "codes", "", "zarr.json":
            return "written from its row", lambda: _codes_group(reading, file)
        case "codes", _, "zarr.json":
            return "written anew", lambda: _codes_metadata(reading, file)
        case "table", "tokens", _ if file.row_start is not None:
            return "made from the arrays of the rowset", lambda: _tokens(reading, file)
        case "table", "postings", _ if file.row_start is not None:
            return "made from the codes", lambda: _postings(reading, file)
    return None


def mend_settings(root: Path) -> bool:
    """Put ``lake.toml`` back from a backup, without which no lake can be opened; whether it was."""
    expected = Claims(database_found(root)).files().get("lake.toml")
    file = CommittedFile("lake.toml", "lake", expected)
    if expected is None or wrong_of(LocalStore(root), file) is None:
        return False
    put_back(LocalStore(root), file, _settings(root, file))
    return True


def codes_bytes(block: Csr, array: str, dtype: np.dtype[Any]) -> bytes:
    """The chunk of one array of a shard of codes, whose values are stored as ``dtype``."""
    stored = {
        "indptr": block.indptr.astype(INDPTR),
        "indices": block.indices.astype(index_dtype(block.n_features)),
        "values": block.values.astype(dtype),
    }[array]
    return b"".join(chunk_pieces(stored, len(stored)))


def _settings(root: Path, file: CommittedFile) -> bytes:
    for copy in sorted(root.glob("backups/[0-9]*/lake.toml")):
        content = copy.read_bytes()
        if file.expected and xxh3_128_hexdigest(content) == file.expected.xxh3_128:
            return content
    raise NotFoundError("no backup has it")


def _config(reading: Reading, file: CommittedFile) -> bytes:
    query = "SELECT config FROM dictionaries WHERE path = $path"
    reading.table("dictionaries")
    path = Path(file.path).parent.as_posix()
    for (config,) in reading.connection().execute(query, {"path": path}).fetchall():
        return json.dumps(json.loads(str(config)), indent=1, sort_keys=True).encode()
    raise NotFoundError("only older snapshots name it")


def current(found: Thing, file: CommittedFile) -> Thing:
    """``found``; NotFoundError if the name of what ``file`` belongs to means something else now."""
    if found.id not in Path(file.path).parts:
        raise NotFoundError("only older snapshots name it")
    return found


def _column_metadata(reading: Reading, file: CommittedFile) -> bytes:
    rowset = current(rowset_named(reading, file.owner), file)
    dtype = np.dtype(ROW_COLUMNS[file.array])
    return _metadata((rowset.rows,), rowset.shard_rows, dtype, dimension_names=("row",))


def _column(reading: Reading, file: CommittedFile) -> bytes:
    rowset = current(rowset_named(reading, file.owner), file)
    dtype = np.dtype(ROW_COLUMNS[file.array])
    reading.table("tokens", rowset=(rowset.name,) * 2)
    query = f"""
        SELECT "{file.array}" FROM tokens
        WHERE rowset = $rowset AND "row" >= $start AND "row" < $stop ORDER BY "row"
    """  # noqa: S608 - ours
    rows = {"rowset": rowset.name, "start": file.row_start, "stop": file.row_stop}
    found = reading.connection().execute(query, rows).to_arrow_table()
    column = found[file.array].combine_chunks()
    if column.null_count:  # a row without token
        column = column.fill_null(-1)
    values = column.to_numpy(zero_copy_only=False).astype(dtype)
    return b"".join(chunk_pieces(values, rowset.shard_rows))


def _tensor_metadata(reading: Reading, file: CommittedFile) -> bytes:
    """With how the rows were computed as the damaged file, another tensor of the model or the
    receipts tell; the recorded hash says which of them is right."""
    tensor = current(tensor_named(reading, file.owner), file)
    query = """
        SELECT t.compute_dtype, m.fingerprint FROM tensors AS t LEFT JOIN models AS m USING (model)
        WHERE t.id = $id
    """
    reading.table("models")
    [(compute_dtype, model)] = reading.connection().execute(query, {"id": tensor.id}).fetchall()
    plan = TensorPlan(
        name=tensor.name,
        model=tensor.model,
        model_fingerprint=model or fingerprint(tensor.model),
        site=tensor.site,
        module=tensor.module,
        side=tensor.side,
        rowset=tensor.rowset,
        dtype=tensor.stored_dtype,
        compute_dtype=compute_dtype,
        width=tensor.width,
    )
    with tempfile.TemporaryDirectory() as folder:
        for number, computed in enumerate(_computed(reading, tensor)):
            computed = _with_columns(computed, tensor)
            array = Path(folder) / str(number)
            create_tensor(array, replace(plan, provenance=tuple(computed.items())))
            content = (array / "zarr.json").read_bytes()
            if file.expected and xxh3_128_hexdigest(content) == file.expected.xxh3_128:
                return content
    raise NotFoundError("nothing else tells how its rows were computed")


def _array_of_tensor(reading: Reading, file: CommittedFile) -> bytes:
    tensor = current(tensor_named(reading, file.owner), file)
    with tempfile.TemporaryDirectory() as folder:
        dtype = tensor.stored_dtype
        create_arrays(Path(folder), tensor.grid, tensor.width, dtype, {})
        return (array_folder(Path(folder), dtype, file.array) / "zarr.json").read_bytes()


def _computed(reading: Reading, tensor: Tensor) -> Iterator[dict[str, Any]]:
    """What may have stood in a tensor's attributes beside the facts that are in its row."""
    names = "SELECT path FROM tensors WHERE model = $model ORDER BY tensor = $tensor DESC, tensor"
    same = {"model": tensor.model, "tensor": tensor.name}
    for (path,) in reading.connection().execute(names, same).fetchall():
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            file = reading.store.local(reading.root / path / "zarr.json")
            stored = json.loads(file.read_text("utf-8"))
            known = [*stored["attributes"].items()]
            yield dict(known[FACTS:])
    query = "SELECT DISTINCT token_budget, torch_threads FROM shards WHERE owner = $id"
    for budget, threads in reading.connection().execute(query, {"id": tensor.id}).fetchall():
        for attention in ("sdpa", "eager"):
            plan = {"token_budget": budget, "torch_threads": threads}
            yield {"attention": attention, **plan}


def _with_columns(computed: dict[str, Any], tensor: Tensor) -> dict[str, Any]:
    """``computed``, maybe of another tensor, with the columns that this one has."""
    others = {name: value for name, value in computed.items() if name != "columns"}
    if tensor.columns is None:
        return others
    batch_plan = [*others].index("token_budget") if "token_budget" in others else len(others)
    stored = [*others.items()]
    return dict([*stored[:batch_plan], ("columns", list(tensor.columns)), *stored[batch_plan:]])


def _codes_group(reading: Reading, file: CommittedFile) -> bytes:
    codes = current(codes_named(reading, file.owner), file)
    plan = CodesPlan(
        name=codes.name,
        dictionary=codes.dictionary,
        dictionary_fingerprint=dictionary_named(reading, codes.dictionary).fingerprint,
        n_features=codes.n_features,
        tensor=codes.tensor,
        tensor_fingerprint=tensor_named(reading, codes.tensor).fingerprint,
        rowset=codes.rowset,
        dtype=codes.dtype.name,
    )
    with tempfile.TemporaryDirectory() as folder:
        zarr.create_group(store=Path(folder) / "group", attributes=codes_attributes(plan))
        return (Path(folder) / "group" / "zarr.json").read_bytes()


def _codes_metadata(reading: Reading, file: CommittedFile) -> bytes:
    codes = current(codes_named(reading, file.owner), file)
    start, stop = codes.grid.span(file.shard or 0)
    values = codes.values_of_shard[file.shard or 0]
    size, dtype = {
        "indptr": (stop - start + 1, INDPTR),
        "indices": (values, index_dtype(codes.n_features)),
        "values": (values, codes.dtype),
    }[file.array]
    return _metadata((size,), max(1, size), dtype)


def _metadata(shape: tuple[int, ...], chunk_rows: int, dtype: np.dtype[Any], **more: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        create_array(Path(folder) / "array", shape, chunk_rows, dtype, **more)
        return (Path(folder) / "array" / "zarr.json").read_bytes()


def _tokens(reading: Reading, file: CommittedFile) -> bytes:
    rowset = rowset_named(reading, file.owner)
    start, stop = file.row_start or 0, file.row_stop
    columns = {name: rowset.column(name, start, stop) for name in ROW_COLUMNS}
    return bytes(encode_rows("tokens", token_rows(rowset.name, columns, start)))


def _postings(reading: Reading, file: CommittedFile) -> bytes:
    """Of one shard as it was encoded, or of a range of features as it was compacted."""
    codes = codes_named(reading, file.owner)
    bounds = reading.bounds("postings", file.path, "feature", "row")
    if not bounds:
        raise NotFoundError("only older snapshots name it")
    (feature, final), (row, end) = (map(int, bounds[name]) for name in ("feature", "row"))
    first, last = row // codes.grid.shard_rows, end // codes.grid.shard_rows
    tables = {
        shard: postings_of(codes.name, codes.shard(shard), codes.grid.span(shard)[0])
        for shard in range(first, last + 1)
        if codes.values_of_shard.get(shard)
    }
    if first == last:
        content = bytes(encode_postings(tables[first]))
        if file.expected and xxh3_128_hexdigest(content) == file.expected.xxh3_128:
            return content
    with tempfile.TemporaryDirectory() as folder, closing(connect()) as connection:
        paths = []
        for shard, table in tables.items():
            paths.append(f"{folder}/{shard}.parquet")
            Path(paths[-1]).write_bytes(encode_postings(table))
        one = Range(feature, final + 1, row, end + 1)
        return bytes(encode_postings(postings_in(connection, paths, codes.name, one)))
