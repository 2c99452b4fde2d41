"""Postings: the values of codes feature-major, as Parquet sorted by (feature, row).

Encodings are chosen for size: deltas for the sorted integers, split bytes for the values, which
compress well because float16 values stored as FLOAT leave 13 bits of each at zero.
"""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from actlake.storage.csr import Csr
from actlake.storage.fields import arrow_schema

__all__ = ["encode_postings", "postings_of"]

ROW_GROUP = 1 << 17
"""Postings a row group: one feature of a large shard is then found in few of them."""


def postings_of(codes: str, block: Csr, row_start: int) -> pa.Table:
    """The stored values of ``block``, whose first row is ``row_start``, by feature, then row."""
    # Rows ascend already and the sort is stable, so it need only look at features.
    order = np.argsort(block.indices, kind="stable")
    name = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(block.nnz, np.int8)), pa.array([codes], pa.string())
    )
    return pa.table(
        {
            "codes": name,
            "feature": block.indices[order].astype(np.int32),
            "row": row_start + block.row_of_value()[order],
            "value": block.values[order].astype(np.float32),
        }
    )


def encode_postings(table: pa.Table) -> memoryview:
    """The bytes of a Parquet file of ``table``, about 3.6 a posting with float16 values."""
    sink = pa.BufferOutputStream()
    schema = arrow_schema("postings")
    pq.write_table(
        table.cast(schema),
        sink,
        version="2.6",
        compression="zstd",
        row_group_size=ROW_GROUP,
        use_dictionary=["codes"],
        column_encoding={
            "feature": "DELTA_BINARY_PACKED",
            "row": "DELTA_BINARY_PACKED",
            "value": "BYTE_STREAM_SPLIT",
        },
    )
    return memoryview(sink.getvalue())
