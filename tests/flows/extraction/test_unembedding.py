"""The unembedding that is read is the one that makes the model's logits."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from actlake.flows.extraction.models import inspect_model
from actlake.flows.extraction.unembedding import has_unembedding, load_unembedding
from actlake.storage.errors import ModelError
from tests.flows.extraction.conftest import config, toy_tokenizer


@pytest.mark.parametrize(
    ("architecture", "centres"), [("llama", False), ("gpt2", True), ("gemma2", False)]
)
def test_unembedding__makes_the_models_logits(
    architecture: str, centres: bool, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config(architecture))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name or "ln_f" in name:
                weight.add_(torch.randn_like(weight) * 0.3)
            else:
                weight.mul_(8)
    model.save_pretrained(tmp_path)
    toy_tokenizer(1, 1).save_pretrained(tmp_path)
    facts = inspect_model(str(tmp_path))
    assert has_unembedding(facts)
    found = load_unembedding(facts)
    assert found.centres is centres

    tokens = torch.arange(3, 8)[None]  # 0 pads, and its row is zeros
    kept: list[torch.Tensor] = []
    blocks = next(
        one
        for one in model.modules()
        if isinstance(one, torch.nn.ModuleList) and len(one) == facts.layers
    )
    last = blocks[-1].register_forward_hook(
        lambda _module, _inputs, output: kept.append(
            output if isinstance(output, torch.Tensor) else output[0]
        )
    )
    with torch.no_grad():
        logits = model.eval()(tokens).logits[0]
    last.remove()
    row = kept[0].reshape(-1, facts.width)
    row = row - row.mean(dim=1, keepdim=True) if centres else row
    row = row / row.square().mean(dim=1, keepdim=True).sqrt() * torch.from_numpy(found.scale)
    ours = row @ torch.from_numpy(found.weight).T
    # Up to what the norm's and the head's biases add to every row alike, and gemma's soft cap.
    softcap = getattr(model.config, "final_logit_softcapping", None)
    ours = ours if softcap is None else softcap * torch.tanh(ours / softcap)
    gap = logits - ours
    assert (gap - gap.mean(dim=0)).abs().max() < 1e-2 * logits.abs().max()


def test_unembedding__of_a_checkpoint_without_a_head(
    tiny_model: Callable[[str], Path],
) -> None:
    facts = inspect_model(str(tiny_model("llama")))
    assert not has_unembedding(facts)
    with pytest.raises(ModelError, match="has no unembedding"):
        load_unembedding(facts)
