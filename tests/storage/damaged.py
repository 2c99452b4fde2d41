"""Files of a lake that are not what was committed, for a while."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actlake.storage.durable import replace_file

__all__ = ["flipped", "of_tensor", "rotten"]


def of_tensor(root: Path) -> Path:
    """The folder of the tensor t:float32."""
    [found] = [
        file.parent
        for file in (root / "tensors").glob("*/zarr.json")
        if json.loads(file.read_text())["attributes"]["tensor"] == "t:float32"
    ]
    return found


@contextmanager
def flipped(file: Path, byte: int = 0) -> Iterator[None]:
    """``file`` with another bit, of the same size, as a disk leaves it."""
    before = file.read_bytes()
    after = bytearray(before)
    after[byte] ^= 4
    replace_file(file, after)
    try:
        yield
    finally:
        replace_file(file, before)


@contextmanager
def rotten(file: Path) -> Iterator[None]:
    """The same file with another bit: mapped pages show it."""
    with file.open("r+b", buffering=0) as opened:
        (before,) = opened.read(1)
        os.pwrite(opened.fileno(), bytes([before ^ 4]), 0)
        try:
            yield
        finally:
            os.pwrite(opened.fileno(), bytes([before]), 0)
