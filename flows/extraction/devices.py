"""Which devices there are, their threads and memory, without the models that run on them."""

import gc

import torch

from actlake.storage.errors import InputError, first_line

__all__ = ["choose_device", "gpus", "release", "set_threads", "take"]


def gpus() -> list[str]:
    """The CUDA devices that this process sees, by their numbers."""
    return [str(number) for number in range(torch.cuda.device_count())]


def take(place: int) -> None:
    """Let this thread compute on one of the CUDA devices of this process: so many on, and round."""
    if (count := torch.cuda.device_count()) > 1:
        torch.cuda.set_device(place % count)


def release() -> None:
    """Give back what torch keeps of the memory of models that are gone: others may need it.

    On the CPU a model's memory goes with the last that holds it.
    """
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call] # theirs
        gc.collect()
        torch.cuda.empty_cache()


def choose_device(device: str) -> str:
    """``device`` itself, or for "auto" the best one here: cuda, mps or cpu. Raises InputError."""
    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:
        raise InputError(
            f"no device {device!r} here: {first_line(error)[:200]}; choose auto or cpu"
        ) from error
    if device == "meta":
        raise InputError("the device 'meta' computes nothing; choose auto or cpu")
    return device


def set_threads(count: int) -> None:
    """Give torch ``count`` threads: the bits of a row depend on it, so callers record it."""
    if count < 1:
        raise InputError(f"torch cannot run on {count} threads; give at least 1")
    torch.set_num_threads(count)
