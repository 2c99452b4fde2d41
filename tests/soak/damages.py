"""What may become of a file: bits that flip, files that shrink, grow, vanish or trade places."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

Damage = Callable[[Path, Path, np.random.Generator], bytes | None]
"""What a file becomes, given another of its kind; None if it vanishes."""


def flip(file: Path, _other: Path, random: np.random.Generator) -> bytes:
    content = bytearray(file.read_bytes())
    bit = int(random.integers(len(content) * 8))
    content[bit // 8] ^= 1 << bit % 8
    return bytes(content)


def truncate(file: Path, _other: Path, random: np.random.Generator) -> bytes:
    content = file.read_bytes()
    return content[: int(random.integers(len(content)))]


def extend(file: Path, _other: Path, random: np.random.Generator) -> bytes:
    return file.read_bytes() + random.bytes(int(random.integers(1, 64)))


def remove(_file: Path, _other: Path, _random: np.random.Generator) -> None:
    return None


def replay(_file: Path, other: Path, _random: np.random.Generator) -> bytes:
    """The content of another whole file of the kind: an older one, or one that was misplaced."""
    return other.read_bytes()


DAMAGES: dict[str, tuple[Damage, float]] = {
    "flipped bit": (flip, 0.7),
    "truncated": (truncate, 0.08),
    "extended": (extend, 0.04),
    "removed": (remove, 0.04),
    "replaced by another whole file of its kind": (replay, 0.14),
}
"""What is done to a file, and how often."""
