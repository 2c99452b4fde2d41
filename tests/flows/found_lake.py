"""The small lake with findings: matched codes, compared tensors, hypotheses about a label.

A test module that imports ``shared_found_lake`` has it as the fixture ``found_lake``.
"""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from actlake.flows.compare import compare
from actlake.flows.hypothesize import hypothesize
from actlake.flows.summarize_labels import summarize_labels
from actlake.flows.summarize_pairs import summarize_pairs
from actlake.storage import Lake
from actlake.storage.fields import arrow_schema
from tests.flows.small_lake import (
    CORPUS,
    DOCUMENTS,
    FEATURES,
    IDENTITY,
    MASK,
    ROWSET,
    TENSOR,
    TOPK,
    codes_name,
    small_lake_made,
)
from tests.shared import made_once

OTHER_TENSOR = "toy:other@speeches"
TARGET = "party"
HOSTILE_LEVEL = "left\x01\u202e<i>right"
"""A value of the label ``side``: what a report or a plot must show and never obey."""


@pytest.fixture(name="found_lake", scope="session")
def shared_found_lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The lake with findings of this session; copy it before writing."""
    small = small_lake_made(tmp_path_factory)
    return Lake.open(made_once(tmp_path_factory, "found-lake", partial(_build, small)))


def _build(small: Path, path: Path) -> None:
    lake = Lake.open(shutil.copytree(small, path))
    rows = lake.tensor(TENSOR)[:]
    turned = rows @ np.linalg.qr(np.random.default_rng(1).normal(size=(FEATURES, FEATURES)))[0]
    with lake.create_tensor(OTHER_TENSOR, rowset=ROWSET, width=FEATURES, dtype="float32") as writer:
        writer.append(turned.astype(np.float32))
    compare(lake, a=codes_name(TOPK), b=codes_name(IDENTITY), mask=MASK, permutations=3)
    compare(lake, a=TENSOR, b=OTHER_TENSOR, mask=MASK, permutations=3)
    sides = [
        {
            "corpus": CORPUS,
            "label": "side",
            "document": one,
            "value_text": (HOSTILE_LEVEL, "x")[one % 2],
        }
        for one in range(DOCUMENTS)
    ]
    with lake.run("test", {"labels": "side"}, {}) as run:
        run.append({"labels": pa.Table.from_pylist(sides, arrow_schema("labels"))}, "a label")
    for target, level in ((TARGET, None), ("side", HOSTILE_LEVEL)):
        hypothesize(
            lake,
            codes=codes_name(IDENTITY),
            target=target,
            level=level,
            group="year",
            mask=MASK,
            min_documents=5,
            draws=19,
        )
    summarize_pairs(lake, codes=codes_name(IDENTITY), mask=MASK, min_fires=5, min_joint=2)
    summarize_labels(lake, codes=codes_name(IDENTITY), label="side", subset_by=TARGET, mask=MASK)
    lake.close()
