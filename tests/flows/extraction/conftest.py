"""Toy tokenizers and tiny models with random weights, saved as users save theirs."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModel,
    BertConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    RobertaConfig,
)

WORDS = [f"w{i}" for i in range(20)]
SPECIALS = ["<pad>", "<end>", "<p0>", "<p1>", "<s0>", "<s1>", "<unk>"]

TokenizerMaker = Callable[[int, int], PreTrainedTokenizerBase]


@cache
def toy_tokenizer(prefix: int, suffix: int) -> PreTrainedTokenizerBase:
    """Words w0 to w19, with so many special tokens before and after each text."""
    vocabulary = {piece: i for i, piece in enumerate([*SPECIALS, *WORDS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    before = [f"<p{i}>" for i in range(prefix)]
    after = [f"<s{i}>" for i in range(suffix)]
    if before or after:
        tokenizer.post_processor = TemplateProcessing(
            single=" ".join([*before, "$A", *after]),
            special_tokens=[(piece, vocabulary[piece]) for piece in before + after],
        )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call] # transformers types it so
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", unk_token="<unk>"
    )


@pytest.fixture(scope="session")
def make_tokenizer() -> TokenizerMaker:
    return toy_tokenizer


def config(architecture: str) -> PretrainedConfig:
    sizes: dict[str, Any] = {
        "vocab_size": len(SPECIALS) + len(WORDS),
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 32,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 1,
    }
    decoder = {**sizes, "num_key_value_heads": 2, "head_dim": 8}
    match architecture:
        case "llama":
            return LlamaConfig(**decoder)
        case "mistral":
            return MistralConfig(**decoder, sliding_window=5)
        case "qwen2":
            return Qwen2Config(**decoder)
        case "qwen3":
            return Qwen3Config(**decoder)
        case "gemma":
            return GemmaConfig(**decoder)
        case "gemma2":
            return Gemma2Config(**decoder, sliding_window=5)
        case "gemma3_text":
            return Gemma3TextConfig(**decoder, sliding_window=5)
        case "gpt2":
            return GPT2Config(**sizes, n_inner=24)
        case "opt":  # in no site table
            return OPTConfig(**sizes, ffn_dim=24, word_embed_proj_dim=16)
        case "bert":
            return BertConfig(**sizes)
        case "roberta":
            return RobertaConfig(**sizes)
    raise ValueError(architecture)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A directory with a model of three layers and its tokenizer (one special token each side)."""

    @cache
    def save(architecture: str) -> Path:
        folder = tmp_path_factory.mktemp(architecture) / f"tiny-{architecture}"
        torch.manual_seed(0)
        model = AutoModel.from_config(config(architecture))  # type: ignore[no-untyped-call] # as above
        with torch.no_grad():  # norms that are all ones would hide a norm that is left out
            for name, weight in model.named_parameters():
                if weight.ndim == 1 or "norm" in name.lower():
                    weight.add_(torch.randn_like(weight) * 0.3)
                else:
                    weight.mul_(8)
        model.save_pretrained(folder)
        toy_tokenizer(1, 1).save_pretrained(folder)
        return folder

    return save


@pytest.fixture
def folder(tiny_model: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of the tiny llama, to break."""
    return Path(shutil.copytree(tiny_model("llama"), tmp_path / "copy"))
