"""Which accelerators there are, and their memory, without the models that run on them."""

import gc

import torch

__all__ = ["gpus", "release", "take"]


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
