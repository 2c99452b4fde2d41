"""The rows of a site as passes go by: each once, in the dtype that they are stored in."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from actlake.flows.extraction.windows import Window
from actlake.storage.precision import DTYPES

__all__ = ["KeptRows", "gather"]

_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
"""Others are kept in float32: of int8 a row has to be seen whole."""
_UNDER_WAY = 2
"""Copies from an accelerator that may be under way: one is made while another is awaited."""


@dataclass(frozen=True, slots=True)
class _Copy:
    """Rows on their way from an accelerator."""

    windows: Sequence[Window]
    host: Tensor
    limits: Tensor
    """Smallest and largest value, on the host."""
    rows: Tensor
    """The same as they were computed, should they not fit."""
    done: torch.cuda.Event


class KeptRows:
    """Rows [start, stop) of one site, shape (stop - start, width), filled batch by batch.

    In ``dtype``, a stored one, rounded to nearest, if all of them fit it; else in float32, so that
    whoever stores them can say what does not. On the CPU a value is cast as it is copied, once;
    from CUDA it comes in ``dtype``, through pinned memory on a stream of its own, while the next
    pass is computed.
    """

    def __init__(
        self, start: int, stop: int, columns: tuple[int, ...] | None, dtype: str = "float32"
    ) -> None:
        self._start, self._rows = start, stop - start
        self._columns = None if columns is None else torch.tensor(columns)
        self._dtype = _DTYPES.get(dtype, torch.float32)
        self._kept: Tensor | None = None
        self._copies: deque[_Copy] = deque()
        self._stream: torch.cuda.Stream | None = None

    def take(self, value: Tensor, windows: Sequence[Window]) -> None:
        """Keep the wanted rows of ``value``, shape (windows, tokens, width)."""
        if value.device.type == "cuda":
            self._send(value, windows)
        elif value.device.type == "cpu":
            self._copy(value, windows)
        else:
            rows = gather(value, windows, self._columns).to("cpu", torch.float32)
            self._place(rows, windows, fits=self._fits(rows))

    def array(self) -> NDArray[np.floating]:
        """The rows, once all of them were taken."""
        while self._copies:
            self._receive()
        kept = torch.empty((0, 0)) if self._kept is None else self._kept
        if kept.dtype == torch.bfloat16:  # which numpy does not have
            return kept.view(torch.uint16).numpy().view(DTYPES["bfloat16"])
        found: NDArray[np.floating] = kept.numpy()
        return found

    def _copy(self, value: Tensor, windows: Sequence[Window]) -> None:
        whole = self._fits(value)
        for index, window in enumerate(windows):
            first, count = int(window.kept[0]), len(window.kept)
            if int(window.kept[-1]) - first + 1 == count:
                rows = value[index, first : first + count]
            else:
                rows = value[index, torch.from_numpy(window.kept)]
            if self._columns is not None:
                rows = rows[:, self._columns]
            # Padding may be anything, so the rows themselves are asked where all together are not
            # known to fit.
            self._into(rows, window.start, window.stop, fits=whole or self._fits(rows))

    def _place(self, rows: Tensor, windows: Sequence[Window], *, fits: bool) -> None:
        """``rows`` of all windows, one after the other, to where they belong."""
        at = 0
        for window in windows:
            count = window.stop - window.start
            self._into(rows[at : at + count], window.start, window.stop, fits=fits)
            at += count

    def _into(self, rows: Tensor, start: int, stop: int, *, fits: bool) -> None:
        if self._kept is None:
            self._kept = _empty(self._rows, rows.shape[1], self._dtype)
        if not fits:
            self._kept = self._kept.to(torch.float32)
        self._kept[start - self._start : stop - self._start].copy_(rows)

    def _fits(self, values: Tensor) -> bool:
        """Whether none becomes infinite as it is cast, and none is NaN or infinite before."""
        return self._holds(values.dtype) or self._within(*torch.aminmax(values))

    def _holds(self, dtype: torch.dtype) -> bool:
        """Whether nothing computed in ``dtype`` is beyond what is kept."""
        return self._dtype in (torch.float32, dtype)

    def _within(self, low: Tensor, high: Tensor) -> bool:
        limit = torch.finfo(self._dtype).max
        return bool(low >= -limit and high <= limit)  # neither is true of NaN

    def _send(self, value: Tensor, windows: Sequence[Window]) -> None:
        rows = gather(value, windows, self._columns)
        if self._stream is None:
            self._stream = torch.cuda.Stream(value.device)  # type: ignore[no-untyped-call]
        self._stream.wait_stream(torch.cuda.current_stream(value.device))
        with torch.cuda.stream(self._stream):
            cast = rows.to(self._dtype)
            host = torch.empty(cast.shape, dtype=cast.dtype, pin_memory=True)
            host.copy_(cast, non_blocking=True)
            limits = torch.empty(2, dtype=rows.dtype, pin_memory=True)
            limits.copy_(torch.stack(torch.aminmax(rows)), non_blocking=True)
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record(self._stream)
        rows.record_stream(self._stream)
        self._copies.append(_Copy(windows, host, limits, rows, done))
        if len(self._copies) > _UNDER_WAY:
            self._receive()

    def _receive(self) -> None:
        copy = self._copies.popleft()
        copy.done.synchronize()
        if self._holds(copy.rows.dtype) or self._within(*copy.limits):
            self._place(copy.host, copy.windows, fits=True)
        else:
            self._place(copy.rows.to("cpu", torch.float32), copy.windows, fits=False)


def _empty(rows: int, width: int, dtype: torch.dtype) -> Tensor:
    """By numpy, which asks for large pages: a shard's worth of torch's own comes in pages of 4 KiB,
    each of which is a fault when it is first written to, and together they take longer than the
    copy that fills them."""
    content = np.empty(rows * width * dtype.itemsize, np.uint8)
    return torch.from_numpy(content).view(dtype).view(rows, width)


def gather(value: Tensor, windows: Sequence[Window], columns: Tensor | None = None) -> Tensor:
    """The wanted rows of all windows, in their order, and columns, where ``value`` is."""
    of_window = np.repeat(np.arange(len(windows)), [len(window.kept) for window in windows])
    kept = np.concatenate([window.kept for window in windows])
    index = (torch.from_numpy(one).to(value.device, non_blocking=True) for one in (of_window, kept))
    rows = value[tuple(index)]
    return rows if columns is None else rows[:, columns.to(value.device)]
