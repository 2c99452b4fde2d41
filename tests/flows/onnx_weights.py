"""The weights of an ONNX file, without its library: a walk over protobuf's wire format.

Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_onnx"]

GRAPH = 7  # of a model
NODE, INITIALIZER = 1, 5  # of a graph
DIMS, NAME, RAW = 1, 8, 9  # of a tensor
INPUT, NODE_NAME = 1, 3  # of a node


def read_onnx(path: Path) -> tuple[dict[str, NDArray[np.float32]], dict[str, list[str]]]:
    """Its float32 tensors by name, and what each node takes by the node's name."""
    tensors: dict[str, NDArray[np.float32]] = {}
    nodes: dict[str, list[str]] = {}
    [graph] = [value for field, value in _fields(memoryview(path.read_bytes())) if field == GRAPH]
    for field, value in _fields(_bytes(graph)):
        if field == NODE:
            parts = [
                (of, bytes(_bytes(one)).decode())
                for of, one in _fields(_bytes(value))
                if of in (INPUT, NODE_NAME)
            ]
            [name] = [text for of, text in parts if of == NODE_NAME]
            nodes[name] = [text for of, text in parts if of == INPUT]
        elif field == INITIALIZER:
            dims: list[int] = []
            name, raw = "", memoryview(b"")
            for of, one in _fields(_bytes(value)):
                if of == DIMS:
                    dims += [one] if isinstance(one, int) else [n for n, _ in _varints(one)]
                elif of == NAME:
                    name = bytes(_bytes(one)).decode()
                elif of == RAW:
                    raw = _bytes(one)
            if len(raw) == 4 * np.prod(dims, dtype=np.int64):
                tensors[name] = np.frombuffer(raw, "<f4").reshape(dims)
    return tensors, nodes


def _bytes(value: int | memoryview) -> memoryview:
    assert isinstance(value, memoryview)
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a message, in order."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        match key & 7:
            case 0:
                value, at = _varint(message, at)
                yield key >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, at = _varint(message, at)
            case 5:
                size = 4
            case other:
                raise ValueError(f"wire type {other} at {at}; is this an ONNX file?")
        yield key >> 3, message[at : at + size]
        at += size


def _varints(message: memoryview) -> Iterator[tuple[int, int]]:
    at = 0
    while at < len(message):
        value, at = _varint(message, at)
        yield value, at


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
