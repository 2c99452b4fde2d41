"""How a model reads tokens from its residual stream: the unembedding and the final norm."""

from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from actlake.analytics.dictionaries.logit_effects import Unembedding
from actlake.flows.extraction.models import ModelFacts
from actlake.flows.extraction.sources import quiet, read_config
from actlake.storage.errors import ModelError, first_line

__all__ = ["has_unembedding", "load_unembedding"]

FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm")
"""What architectures call the norm after their last block, beside the list of blocks."""


def has_unembedding(facts: ModelFacts) -> bool:
    """Whether the checkpoint says that it is a causal language model with its head."""
    config = read_config(facts.path, facts.source, facts.trust_remote_code)
    names = getattr(config, "architectures", None) or []
    return any(str(name).endswith(("ForCausalLM", "LMHeadModel")) for name in names)


def load_unembedding(facts: ModelFacts) -> Unembedding:
    """The unembedding of a causal model, in float32 on the processor.

    Raises ModelError where the checkpoint lacks it, or has no norm that is known.
    """
    with quiet():
        try:
            loaded: Any = AutoModelForCausalLM.from_pretrained(  # a pair, which its type hides
                facts.path,
                dtype=torch.float32,
                output_loading_info=True,
                trust_remote_code=facts.trust_remote_code,
            )
        except MemoryError:
            raise
        except Exception as error:  # files are anybody's, and libraries raise what they like
            raise ModelError(
                f"the model {facts.source} cannot be loaded with its head: {first_line(error)}; "
                f"check its files in {facts.path}"
            ) from error
    model, info = loaded
    head = model.get_output_embeddings()
    if head is None or any("head" in str(name) for name in info["missing_keys"]):
        raise ModelError(f"the checkpoint {facts.source} has no unembedding; give a complete one")
    scale, centres = _scale(_final_norm(model, facts), facts.width)
    return Unembedding(head.weight.detach().numpy(), scale.numpy(), centres)


def _final_norm(model: PreTrainedModel, facts: ModelFacts) -> torch.nn.Module:
    for module in model.modules():
        children: dict[str, torch.nn.Module] = dict(module.named_children())
        lists = [one for one in children.values() if isinstance(one, torch.nn.ModuleList)]
        if any(len(one) == facts.layers for one in lists):
            for name in FINAL_NORMS:
                if isinstance(children.get(name), torch.nn.Module):
                    return children[name]
    raise ModelError(
        f"no final norm is known of the architecture {facts.architecture}, so effects on its "
        "logits cannot be told; summarize without --weights"
    )


def _scale(norm: torch.nn.Module, width: int) -> tuple[torch.Tensor, bool]:
    """What the norm multiplies each dimension with, and whether it takes the mean away.

    Measured on a row of +1 and -1, of mean 0 and root mean square 1, because some norms multiply
    with 1 + weight and others with the weight.
    """
    row = torch.ones(1, width)
    row[:, 1::2] = -1
    with torch.no_grad():
        scale = (norm(row) - norm(-row))[0] / 2 * row[0]
        far = norm(row + 3)
        centres = bool(torch.allclose(far, norm(row), atol=1e-3))
    return scale, centres
