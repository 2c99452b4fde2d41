"""The records of one file, in its order and in batches.

Nothing is guessed and nothing is mended: a file is UTF-8, a row has as many cells as the header,
and what is not so is refused with the file and the line.
"""

import csv
import io
import itertools
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

from actlake.flows.source_files import SourceFile, nearest
from actlake.flows.source_images import FOLDER, HASH, address, array_facts, image_facts
from actlake.storage.errors import CorpusError
from actlake.storage.keys import repeated

__all__ = ["Row", "read_rows"]

_BATCH_ROWS = 1024
# A small file may unpack to anything. Bytes; a value in Python takes up to twenty times its bytes.
_LONGEST_TEXT = 1 << 28  # of a file of text
_LONGEST_LINE = 1 << 26  # also of a row of CSV, and of a value of a table
_BATCH_BYTES = 1 << 29

# A column of CSV is numbers where every cell is written as JSON writes one, which 007 is not, and
# fits into 64 bits.
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")
_REAL = re.compile(r"-?(0|[1-9]\d{0,17})(\.\d+)?([eE][+-]?\d{1,2})?")
_BOOLEAN = re.compile("true|false", re.IGNORECASE)
_KINDS: tuple[tuple[re.Pattern[str], Callable[[str], object]], ...] = (
    (_INTEGER, int),
    (_REAL, float),
    (_BOOLEAN, lambda cell: cell.lower() == "true"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One record as its file has it."""

    place: str
    """File and line, or row, for messages."""
    name: str
    """Id for a record that brings none: the file's name, or that and the row's number from 1."""
    values: Mapping[str, object]
    always: Mapping[str, str] = field(default_factory=dict)
    """Labels that the document has whatever others are chosen."""


def read_rows(
    file: SourceFile,
    *,
    text: str,
    as_text: Collection[str] = (),
    columns: Sequence[str] | None = None,
) -> Iterator[Row]:
    """The records of ``file`` in its order; memory holds a batch of them.

    text
        Column that the content of a text file goes by, and the path of an image.
    as_text
        Columns of CSV that stay text where they look like numbers, such as ids.
    columns
        Read these only; all of them where None. A table without one of them is refused, while a
        line of JSON may lack any.

    Raises CorpusError for what cannot be read, with file and line or row.
    """
    try:
        match file.format:
            case "text":
                yield Row(str(file.path), file.name, {text: _decoded(file.path)})
            case "jsonl":
                yield from _json_rows(file)
            case "csv" | "tsv":
                yield from _csv_rows(file, as_text, columns)
            case "parquet":
                parquet = pq.ParquetFile(file.path)
                names = _chosen(file.path, parquet.schema_arrow.names, columns)
                batches = parquet.iter_batches(batch_size=_batch_rows_of(parquet), columns=names)
                yield from _batch_rows(file, batches, names)
            case "arrow":
                yield from _arrow_rows(file, columns)
            case "image":
                folder, hash_ = image_facts(file)
                values = {text: file.name, FOLDER: folder}
                yield Row(str(file.path), file.name, values, {HASH: hash_})
            case "array":
                for index, hash_ in enumerate(array_facts(file)):
                    name = address(file, index)
                    yield Row(f"{file.path}[{index}]", name, {text: name}, {HASH: hash_})
    except (OSError, MemoryError, UnicodeDecodeError, pa.ArrowException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")
        raise CorpusError(
            f"{file.path} cannot be read as {file.format}: {reason}; check the file and its format"
        ) from error


def _open(path: Path) -> BinaryIO:
    stream = pa.input_stream(str(path), compression="detect")
    return cast(BinaryIO, io.BufferedReader(stream))


def _decoded(path: Path) -> str:
    with _open(path) as file:
        data = file.read(_LONGEST_TEXT + 1)
    if len(data) > _LONGEST_TEXT:
        raise _too_long(f"{path}", "text", _LONGEST_TEXT)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(path, data.count(b"\n", 0, error.start) + 1) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _lines(path: Path) -> Iterator[str]:
    with _open(path) as file:
        for number in itertools.count(1):
            line = file.readline(_LONGEST_LINE + 1)
            if not line:
                return
            if len(line) > _LONGEST_LINE:
                raise _too_long(f"{path}:{number}", "a line", _LONGEST_LINE)
            try:
                decoded = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise _not_utf8(path, number) from error
            yield decoded


def _too_long(place: str, what: str, longest: int) -> CorpusError:
    return CorpusError(
        f"{place} has {what} of more than {longest >> 20} MiB; split it into documents"
    )


def _not_utf8(path: Path, line: int) -> CorpusError:
    return CorpusError(f"{path}:{line} is not UTF-8; convert the file to UTF-8 first")


def _json_rows(file: SourceFile) -> Iterator[Row]:
    for number, line in enumerate(_lines(file.path), 1):
        if not line.strip():
            continue
        place = f"{file.path}:{number}"
        try:
            record = json.loads(line, parse_constant=_refuse_constant)
        except json.JSONDecodeError as error:
            raise CorpusError(
                f"{place} is not JSON: {error.msg.lower()} at character {error.pos + 1}; "
                "write one object a line"
            ) from error
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"{place} is not JSON: {error}; write one object a line") from error
        if not isinstance(record, dict):
            raise CorpusError(f"{place} is no object but {line.strip()[:40]}; write one a line")
        yield Row(place, f"{file.name}#{number}", record)


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON, write null")


def _csv_rows(
    file: SourceFile, as_text: Collection[str], columns: Sequence[str] | None
) -> Iterator[Row]:
    records = _records(file)
    header = next(records, (0, []))[1]
    if not header:
        raise CorpusError(f"{file.path} is empty; its first line must name the columns")
    _refuse_twice(f"{file.path}:1", header)
    chosen = _chosen(file.path, header, columns)
    kept = [(index, name) for index, name in enumerate(header) if name in chosen]
    casts = _casts(file, [index for index, name in kept if name not in as_text])
    for number, (line, cells) in enumerate(records, 1):
        values = {
            name: casts[index](cells[index]) if cells[index] and index in casts else cells[index]
            for index, name in kept
        }
        missing = {name: None for name, value in values.items() if value == ""}
        yield Row(f"{file.path}:{line}", f"{file.name}#{number}", values | missing)


def _casts(file: SourceFile, indices: list[int]) -> dict[int, Callable[[str], object]]:
    """How the cells of each column of numbers or truth values become them; one pass."""
    possible = dict.fromkeys(indices, _KINDS)
    records = _records(file) if indices else iter(())
    next(records, None)
    for _, cells in records:
        for index in (index for index in indices if cells[index]):
            kept = (kind for kind in possible[index] if kind[0].fullmatch(cells[index]))
            possible[index] = tuple(kept)
    return {index: kinds[0][1] for index, kinds in possible.items() if kinds}


def _records(file: SourceFile) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row, header first, and the line that it begins on."""
    csv.field_size_limit(_LONGEST_LINE)
    delimiter = "\t" if file.format == "tsv" else ","
    width = line = size = 0

    def lines() -> Iterator[str]:
        nonlocal size
        for one in _lines(file.path):
            size += len(one)
            if size > _LONGEST_LINE:  # of lines that quotes hold together
                raise _too_long(f"{file.path}:{line}", "a row", _LONGEST_LINE)
            yield one

    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    while True:
        line, size = reader.line_num + 1, 0
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise CorpusError(
                f"{file.path}:{line} is not {file.format.upper()}: {error}; check the quotes of "
                "the row that begins there"
            ) from error
        if cells is None:
            return
        if not cells:
            continue
        width = width or len(cells)
        if len(cells) != width:
            raise CorpusError(
                f"{file.path}:{line} has {len(cells)} cells and the header {width}; quote cells "
                "that hold a delimiter, or give the format"
            )
        yield line, cells


def _arrow_rows(file: SourceFile, columns: Sequence[str] | None) -> Iterator[Row]:
    with pa.memory_map(str(file.path)) as source:
        # Feather and Arrow files begin with a mark; what datasets saves is a bare stream.
        if source.read(6) == b"ARROW1":
            reader = ipc.open_file(source)
            batches = (reader.get_batch(index) for index in range(reader.num_record_batches))
        else:
            source.seek(0)
            reader = ipc.open_stream(source)
            batches = iter(reader)
        names = _chosen(file.path, reader.schema.names, columns)
        pieces = (
            batch.slice(start, _BATCH_ROWS)
            for batch in batches
            for start in range(0, batch.num_rows, _BATCH_ROWS)
        )
        yield from _batch_rows(file, pieces, names)


def _batch_rows_of(parquet: pq.ParquetFile) -> int:
    """Rows to decode at once: each may hold the longest value, which its page may hold once."""
    facts = parquet.metadata
    sizes = (
        facts.row_group(group).column(column).total_uncompressed_size
        for group in range(facts.num_row_groups)
        for column in range(facts.num_columns)
    )
    longest: int = max([*sizes, 1])
    return max(min(_BATCH_BYTES // longest, _BATCH_ROWS), 1)


def _batch_rows(
    file: SourceFile, batches: Iterable[pa.RecordBatch], names: list[str]
) -> Iterator[Row]:
    number = 0
    for batch in batches:
        batch.validate(full=True)  # offsets and text of a damaged file may point anywhere
        columns = [(name, batch.column(name)) for name in names]
        for index in range(batch.num_rows):
            number += 1
            place = f"{file.path} row {number}"
            values = {name: _value(column[index], name, place) for name, column in columns}
            yield Row(place, f"{file.name}#{number}", values)


def _value(found: pa.Scalar, name: str, place: str) -> object:
    try:
        value: object = found.as_py()
    except (ValueError, OverflowError) as error:  # such as a date after the year 9999
        raise CorpusError(
            f"the column {name!r} of {place} holds what cannot be read ({error}); mend it, or "
            "choose other columns"
        ) from error
    if isinstance(value, str) and len(value) > _LONGEST_LINE:
        raise _too_long(place, "a value", _LONGEST_LINE)
    return value


def _refuse_twice(place: str, names: Sequence[str]) -> None:
    if twice := repeated(names):
        raise CorpusError(f"{place} names the column {twice!r} twice; rename one")


def _chosen(path: Path, names: Sequence[str], columns: Sequence[str] | None) -> list[str]:
    for column in columns or ():
        if column not in names:
            raise CorpusError(f"no column {column!r} in {path}; {nearest(column, names)}")
    chosen = [name for name in names if columns is None or name in columns]
    _refuse_twice(f"{path}", chosen)
    return chosen
