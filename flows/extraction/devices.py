"""Which accelerators there are, without the models that run on them."""

import torch

__all__ = ["gpus"]


def gpus() -> list[str]:
    """The CUDA devices that this process sees, by their numbers."""
    return [str(number) for number in range(torch.cuda.device_count())]
