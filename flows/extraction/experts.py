"""What one expert of a mixture adds for each token, which no module gives out by itself."""

import re

from torch import Tensor, nn

from actlake.storage.errors import ModelError

__all__ = ["expert_number", "expert_share"]


def expert_number(side: str) -> int | None:
    """The expert that a side such as ``expert3`` names; None for any other side."""
    found = re.fullmatch(r"expert(0|[1-9][0-9]{0,5})", side)
    return int(found[1]) if found else None


def expert_share(module: nn.Module, expert: int, inputs: tuple[object, ...], site: str) -> Tensor:
    """The output of one expert times the router's share, (tokens, width).

    0 where a token was not sent to it, so that over all experts they add up to the module's output.
    ``inputs`` are what the module is called with: tokens, the experts of each, their shares. Every
    token goes through the one expert. Raises ModelError for a module that holds no experts.
    """
    count = getattr(module, "num_experts", None)
    tensors = [value for value in inputs if isinstance(value, Tensor)]
    if not isinstance(count, int) or len(tensors) != 3 or tensors[1].is_floating_point():
        raise ModelError(
            f"site {site} is of one expert, and its module holds none that a router chooses from; "
            "name the module of the experts"
        )
    if expert >= count:
        raise ModelError(f"site {site} has no expert {expert}; choose 0 to {count - 1}")
    hidden, chosen, shares = tensors
    share = (shares * (chosen == expert)).sum(-1, keepdim=True)
    # Not the module itself, whose hooks would be called again.
    found: Tensor = module.forward(hidden, chosen[:, :1] * 0 + expert, share)
    return found
