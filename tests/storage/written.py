"""A tensor that tests append: its rows, and the chunks that they come to."""

from pathlib import Path

import numpy as np

from actlake.storage import Lake
from tests.storage.conftest import fresh_name, payloads

ROWS, WIDTH = 37, 3
VALUES = np.random.default_rng(2).normal(size=(ROWS, WIDTH)).astype(np.float32)


def chunks(payload: dict[str, bytes]) -> dict[str, bytes]:
    """The chunk files; a kill may leave a ``*.tmp`` beside them, which nothing ever reads."""
    return {name: one for name, one in payload.items() if Path(name).name.startswith("c.")}


def written_whole(bench: Lake, dtype: str) -> dict[str, bytes]:
    name = fresh_name()
    with bench.create_tensor(name, rowset="c@w", width=WIDTH, dtype=dtype) as writer:
        writer.append(VALUES)
    return chunks(payloads(bench, name))
