"""How long a GPU waits while something runs, by torch's profiler."""

from collections.abc import Callable, Iterable

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

__all__ = ["busy", "idle_share"]

MICROSECONDS = 1e6

Span = tuple[float, float]
"""When something began and when it ended."""


def idle_share(work: Callable[[], float]) -> float:
    """Percent of the seconds that ``work`` says it took, up to its end, in which the GPU neither
    computed nor copied; 100 where it did nothing."""
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        seconds = work()
        torch.zeros(1, device="cuda")  # shows when it had ended
        torch.cuda.synchronize()
    spans = [
        (event.time_range.start / MICROSECONDS, event.time_range.end / MICROSECONDS)
        for event in seen.events() or ()
        if event.device_type == DeviceType.CUDA
    ]
    end = max(first for first, _ in spans)
    return 100 * (1 - busy(spans, (end - seconds, end)) / seconds)


def busy(spans: Iterable[Span], within: Span) -> float:
    """How much of ``within`` is in some of ``spans``, which overlap: a copy goes on beside
    kernels."""
    total, (reached, end) = 0.0, within
    for first, last in sorted(spans):
        stop = min(last, end)
        total += max(0.0, stop - max(first, reached))
        reached = max(reached, stop)
    return total
