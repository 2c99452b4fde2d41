"""Columns of numbers as rows of a table."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actlake.storage.fields import arrow_schema

__all__ = ["feature_table"]


def feature_table(
    name: str, columns: Mapping[str, NDArray[Any]], constants: Mapping[str, str]
) -> pa.Table:
    """``columns``, of one length, and ``constants``, as what ``stage`` makes rows of ``name`` of.

    NaN in a column that allows NULL becomes NULL. A constant is a dictionary of one word, and so
    takes a byte a row until it is written.
    """
    schema = arrow_schema(name)
    rows = len(next(iter(columns.values())))
    arrays = []
    for field in schema:
        if field.name in constants:
            once = pa.array([constants[field.name]], field.type)
            arrays.append(pa.DictionaryArray.from_arrays(np.zeros(rows, np.int8), once))
            continue
        values = columns[field.name]
        missing = np.isnan(values) if field.nullable and values.dtype.kind == "f" else None
        arrays.append(pa.array(values, mask=missing).cast(field.type))
    return pa.Table.from_arrays(arrays, names=schema.names)
