"""Models that cost little, and texts in words that they know.

``python -m benchmarks.small_models`` is ``actlake`` that knows the null model.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from actlake.flows.cli import main
from actlake.storage import Document

WORDS = (
    "the of and to we our in that a is for it people nation must will have be this with war peace "
    "congress year law great world free work time more than every government country men state"
).split()
PADDING = "<pad>"
VOCABULARY = 1 + len(WORDS)


class NullConfig(PretrainedConfig):  # type: ignore[misc] # theirs
    """A model that only looks up."""

    model_type = "null"

    def __init__(self, hidden_size: int = 8, **options: Any) -> None:
        self.hidden_size = hidden_size
        self.num_hidden_layers = 1
        self.vocab_size = VOCABULARY
        super().__init__(**options)


class NullModel(PreTrainedModel):  # type: ignore[misc] # theirs
    """A vector for each token, which six modules hand on as it is."""

    config_class = NullConfig
    base_model_prefix = "model"

    def __init__(self, config: NullConfig) -> None:
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.same = nn.ModuleList(nn.Identity() for _ in range(6))
        self.post_init()

    def forward(self, input_ids: torch.Tensor, **_inputs: object) -> SimpleNamespace:
        found = self.embed(input_ids)
        for module in self.same:
            found = module(found)
        return SimpleNamespace(last_hidden_state=found)


NULL_SITES = [f"same.{number}:output" for number in range(6)]
AutoConfig.register("null", NullConfig, exist_ok=True)
AutoModel.register(NullConfig, NullModel, exist_ok=True)


def null_model(folder: Path, width: int) -> Path:
    """A directory with a model whose passes are a look-up, so that a lake's own cost is left."""
    torch.manual_seed(0)
    path = folder / "null-model"
    NullModel(NullConfig(width)).save_pretrained(path)
    _write_tokenizer(path)
    return path


def random_llama(folder: Path, width: int, layers: int = 2, heads: int = 8) -> Path:
    """A directory with a llama of random weights whose tokens are words."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=8 * width // 3,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=1024,
        pad_token_id=0,
    )
    path = folder / "random-llama"
    AutoModel.from_config(config).save_pretrained(path)
    _write_tokenizer(path)
    return path


def documents(rows: int) -> list[Document]:
    """Texts of ``rows`` words together, of uneven lengths, so that batches have padding."""
    random = np.random.default_rng(0)
    found: list[Document] = []
    while rows > 0:
        words = min(rows, 400, 20 + int(random.lognormal(4.5, 0.7)))
        found.append(Document(str(len(found)), " ".join(random.choice(WORDS, words))))
        rows -= words
    return found


def _write_tokenizer(path: Path) -> None:
    words = {word: number for number, word in enumerate([PADDING, *WORDS])}
    tokenizer = Tokenizer(WordLevel(words, unk_token=PADDING))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PADDING, unk_token=PADDING
    ).save_pretrained(path)


if __name__ == "__main__":
    main()
