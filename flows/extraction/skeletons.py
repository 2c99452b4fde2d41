"""Where the sites of a model are, found without its weights."""

import os
from collections.abc import Sequence

import torch
from transformers import AutoModel, PreTrainedModel

from actlake.flows.extraction.models import ModelFacts
from actlake.flows.extraction.sites import Site, resolve_sites
from actlake.flows.extraction.sources import quiet, read_config
from actlake.storage.errors import LakeError, ModelError, first_line

__all__ = ["sites_of", "skeleton"]


def sites_of(facts: ModelFacts, sites: Sequence[str], attention: str) -> tuple[list[Site], str]:
    """Where each of ``sites`` is and how wide, and the implementation of attention, if auto.

    Loads no weights. Raises ModelError, as ``resolve_sites``, and for a model that does not run on
    tokens alone.
    """

    def found(device: str) -> tuple[list[Site], str]:
        model = skeleton(facts, attention, device=device)
        chosen = str(model.config._attn_implementation) if attention == "auto" else attention
        return resolve_sites(model, sites), chosen

    try:
        try:
            return found("meta")
        except (RuntimeError, TypeError):
            # What some compute depends on what is in a tensor, or on the token that pads.
            _refuse_large(facts, skeleton(facts, attention))
            return found("cpu")
    except (LakeError, MemoryError):
        raise
    except Exception as error:  # of any library, about inputs that the model does not take
        raise ModelError(
            f"the model {facts.source} ({facts.architecture}) does not run on tokens alone: "
            f"{first_line(error)}; give a model of text"
        ) from error


def _refuse_large(facts: ModelFacts, model: PreTrainedModel) -> None:
    """Linux kills who takes more memory than there is."""
    takes = 4 * sum(weight.numel() for weight in model.parameters())
    room = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    if takes > room:
        raise ModelError(
            f"to find sites of {facts.source} ({facts.architecture}) all of it has to be built, "
            f"{takes / 1e9:,.0f} GB, more than half of the memory here; use a larger machine"
        )


def skeleton(facts: ModelFacts, attention: str = "auto", device: str = "meta") -> PreTrainedModel:
    """The base model, to resolve sites: on the meta device modules and shapes alone.

    With eager ``attention`` those of its weights resolve, too; every other one is as good as auto.
    On another device it has weights, drawn at random.
    """
    config = read_config(facts.path, facts.source, facts.trust_remote_code)
    with quiet(), torch.device(device), torch.random.fork_rng(devices=[]):
        model: PreTrainedModel = AutoModel.from_config(
            config,
            attn_implementation="eager" if attention == "eager" else None,
            trust_remote_code=facts.trust_remote_code,
        )
    if device == "meta":
        # Others group tokens by the expert that they are sent to, and here nothing is computed.
        model.set_experts_implementation("batched_mm")
        # gpt2 and others look for padding among the tokens, which are not there.
        model.config.pad_token_id = None
    model.train(False)
    return model
