"""The view ``firings`` of a lake's connection: what fires on a row, out of the codes of that row.

Postings lie by feature, after ``compact`` in ranges of features over all rows, so whoever asks by
row would read them all. Codes lie by row, in files that DuckDB does not read; so three functions of
ours read them for it. They come after the scan of ``tokens``, so that whatever a query asks of its
columns (rows, a document, a token) decides which rows they see. A column that is not asked for is
not read: the features and the values of a firing are looked up by its place.

In a place is the shard, times 2^32, and the number of the value in it.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import count
from weakref import WeakValueDictionary

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from duckdb.func import PythonUDFType
from numpy.typing import NDArray

from actlake.storage.codes import Codes, codes_named
from actlake.storage.csr import ranges
from actlake.storage.errors import BusyError
from actlake.storage.reading import Reading
from actlake.storage.scan import Array
from actlake.storage.shards import by_shard

__all__ = ["Firings", "register"]

PLACES = 1 << 32
"""More than the values of any shard: ``csr.INDPTR`` says why."""
MOST_CODES = 256
"""That stay known."""

_VIEW = """
    CREATE OR REPLACE VIEW firings AS
    WITH placed AS (
        SELECT
            c.codes, c.id, t.rowset, t."row", t.document, t.position, t.token_id, t.is_special,
            unnest(firing_places({reader}, c.id, t."row")) AS place
        FROM codes AS c
        INNER JOIN tokens AS t USING (rowset)
    )
    SELECT
        codes, rowset, "row", document, position, token_id, is_special,
        firing_feature({reader}, id, place) AS feature,
        firing_value({reader}, id, place) AS value
    FROM placed
"""
"""As ``sql/views/firings.sql``, which plain DuckDB reads, in what it returns."""


_numbers = count(1)
_open: WeakValueDictionary[int, "Firings"] = WeakValueDictionary()
"""By number, which the view passes to the functions. DuckDB keeps those of a connection alive no
longer than that, and calls them for its cursors then; so they are the module's. And a connection
that held its reader would never be closed: Python does not see that circle."""


class Firings:
    """What the functions in the view of one connection do, for as long as somebody holds this."""

    def __init__(self, reading: Reading, aside: Callable[[], AbstractContextManager[None]]) -> None:
        """``reading`` is asked within ``aside``, on a connection that no query is at work on."""
        self._reading = reading
        self._aside = aside
        self._known: dict[str, Codes] = {}
        """Sealed ones, by id: no snapshot shows them in another way."""
        self._number = next(_numbers)
        _open[self._number] = self

    @property
    def view(self) -> str:
        """The statement that makes it."""
        return _VIEW.format(reader=self._number)

    def places(self, ids: pa.ChunkedArray, rows: pa.ChunkedArray) -> pa.Array:
        """Of each row the places of its values; none of a row that is not committed."""
        wanted = _integers(rows)
        first, last = np.zeros_like(wanted), np.zeros_like(wanted)
        for codes, here in self._by_codes(ids):
            for shard, of_it, offsets in by_shard(wanted[here], codes.grid.shard_rows):
                if shard in codes.values_of_shard:
                    mine, found = here[of_it], codes.places(shard, offsets)
                    first[mine], last[mine] = (shard * PLACES + edge for edge in found)
        ends = np.concatenate(([0], np.cumsum(last - first)))
        places = pa.array(ranges(first, last))
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), places)

    def feature(self, ids: pa.ChunkedArray, places: pa.ChunkedArray) -> pa.Array:
        return pa.array(self._looked_up(ids, places, "indices", np.dtype(np.int32)))

    def value(self, ids: pa.ChunkedArray, places: pa.ChunkedArray) -> pa.Array:
        return pa.array(self._looked_up(ids, places, "values", np.dtype(np.float32)))

    def _looked_up(
        self, ids: pa.ChunkedArray, places: pa.ChunkedArray, name: Array, dtype: np.dtype[np.number]
    ) -> NDArray[np.number]:
        wanted = _integers(places)
        found = np.zeros(len(wanted), dtype)
        for codes, here in self._by_codes(ids):
            for shard, of_it, offsets in by_shard(wanted[here], PLACES):
                found[here[of_it]] = codes.array(shard, name)[offsets]
        return found

    def _by_codes(self, ids: pa.ChunkedArray) -> Iterator[tuple[Codes, NDArray[np.int64]]]:
        """Each codes that ``ids`` name, and where."""
        encoded = pc.dictionary_encode(pa.chunked_array(ids).combine_chunks())
        numbers = encoded.indices.to_numpy()
        for number, one in enumerate(encoded.dictionary.to_pylist()):
            yield self._codes(one), np.flatnonzero(numbers == number)

    def _codes(self, id_: str) -> Codes:
        if (known := self._known.get(id_)) is not None:
            return known
        query = "SELECT codes FROM codes WHERE id = $id"
        with self._aside(), self._reading.standing():
            for row in self._reading.facts("codes", query, id=id_):
                codes = codes_named(self._reading, row["codes"])
                if codes.sealed:
                    if len(self._known) >= MOST_CODES:
                        self._known.clear()
                    self._known[id_] = codes
                return codes
        raise BusyError("codes were withdrawn or deleted while a query read them; run it again")


def _integers(column: pa.ChunkedArray) -> NDArray[np.int64]:
    numbers: NDArray[np.int64] = pa.chunked_array(column).to_numpy()
    return numbers


def _firings(reader: pa.ChunkedArray) -> Firings:
    found = _open.get(reader[0].as_py())
    if found is None:
        raise BusyError("the lake was closed while a query read its codes; open it again")
    return found


def _places(reader: pa.ChunkedArray, ids: pa.ChunkedArray, rows: pa.ChunkedArray) -> pa.Array:
    return _firings(reader).places(ids, rows)


def _feature(reader: pa.ChunkedArray, ids: pa.ChunkedArray, places: pa.ChunkedArray) -> pa.Array:
    return _firings(reader).feature(ids, places)


def _value(reader: pa.ChunkedArray, ids: pa.ChunkedArray, places: pa.ChunkedArray) -> pa.Array:
    return _firings(reader).value(ids, places)


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """The functions are known to ``connection`` and its cursors."""
    for name, function, gives in (
        ("firing_places", _places, "BIGINT[]"),
        ("firing_feature", _feature, "INTEGER"),
        ("firing_value", _value, "FLOAT"),
    ):
        connection.create_function(
            name, function, ["BIGINT", "VARCHAR", "BIGINT"], gives, type=PythonUDFType.ARROW
        )
