"""A lake whose codes are summarized under two masks, and the same codes as a matrix, to count in.

A test module that imports ``counted_lake`` has it as the fixture ``lake``.
"""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from actlake.flows.encode import encode
from actlake.flows.summarize import summarize
from actlake.storage.lake import Lake
from tests.shared import made_once

CODES, MASKS = "d@c", ("no_special", "late")
Dense = NDArray[np.float64]


@pytest.fixture(name="lake", scope="session")
def counted_lake(dictionary_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Codes of the dictionary, summarized under two masks; copy it before writing."""
    build = partial(_build, dictionary_lake)
    return Lake.open(made_once(tmp_path_factory, "counted-lake", build))


def _build(source: Path, path: Path) -> None:
    lake = Lake.open(shutil.copytree(source, path))
    encode(lake, dictionary="d")
    lake.create_mask("late", "position > 3 AND NOT is_special")
    for mask in MASKS:
        summarize(lake, codes=CODES, mask=mask, examples=5, tokens=4)
    lake.close()


def stored(lake: Lake) -> Dense:
    block = lake.codes(CODES)[:]
    matrix = np.zeros((block.rows, block.n_features))
    matrix[np.repeat(np.arange(block.rows), np.diff(block.indptr)), block.indices] = block.values
    return matrix


def under(lake: Lake, mask: str) -> NDArray[np.bool_]:
    rowset = lake.codes(CODES).rowset
    content = ~rowset.column("is_special")
    return content if mask == "no_special" else content & (rowset.column("position") > 3)


def table(lake: Lake, name: str, mask: str) -> pl.DataFrame:
    kept = (pl.col("codes") == CODES) & (pl.col("mask") == mask)
    return lake.table(name).filter(kept).collect()
