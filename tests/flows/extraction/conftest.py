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
    BartConfig,
    BertConfig,
    BloomConfig,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2WithRegistersConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LEDConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    OPTConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2MoeConfig,
    Qwen3Config,
    Qwen3MoeConfig,
    RobertaConfig,
    SwitchTransformersConfig,
    T5Config,
    ViTConfig,
    WhisperConfig,
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
    return PreTrainedTokenizerFast(
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
    experts: dict[str, Any] = {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 12,
    }
    images: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": 8,
        "patch_size": 4,
    }
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
        case "gpt_neox" | "gpt_neox_sequential":
            return GPTNeoXConfig(**sizes, use_parallel_residual=architecture == "gpt_neox")
        case "opt" | "opt_post_norm":
            first = architecture == "opt"
            width = 16 if first else 8  # of the embedding, which opt-350m projects
            return OPTConfig(
                **sizes, ffn_dim=24, word_embed_proj_dim=width, do_layer_norm_before=first
            )
        case "mixtral":
            return MixtralConfig(**decoder, num_local_experts=4, num_experts_per_tok=2)
        case "qwen2_moe":
            few: dict[str, Any] = {"shared_expert_intermediate_size": 12, "mlp_only_layers": [1]}
            return Qwen2MoeConfig(**decoder, **experts, **few)
        case "qwen3_moe":
            return Qwen3MoeConfig(**decoder, **experts, norm_topk_prob=True)
        case "t5" | "t5_gated" | "switch_transformers":
            small: dict[str, Any] = {
                "decoder_start_token_id": 0,
                "d_model": 16,
                "d_kv": 8,
                "d_ff": 24,
                "num_heads": 4,
                "num_layers": 3,
            }
            if architecture == "t5_gated":  # as t5 v1.1 and flan are
                small |= {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
            kind = SwitchTransformersConfig if architecture.startswith("switch") else T5Config
            return kind(vocab_size=sizes["vocab_size"], **small)
        case "bart" | "whisper" | "led":  # in no site table, either
            both: dict[str, Any] = {
                f"{side}_{what}": size
                for side in ("encoder", "decoder")
                for what, size in (("layers", 3), ("attention_heads", 4), ("ffn_dim", 24))
            }
            if architecture == "led":
                both |= {"attention_window": 4, "max_encoder_position_embeddings": 32}
            others = {"bart": BartConfig, "whisper": WhisperConfig, "led": LEDConfig}
            return others[architecture](**sizes, **both, d_model=16, decoder_start_token_id=3)
        case "bloom":  # in no site table
            return BloomConfig(vocab_size=sizes["vocab_size"], hidden_size=16, n_layer=3, n_head=4)
        case "vit":
            return ViTConfig(**images, intermediate_size=24)
        case "dinov2" | "dinov2_swiglu":
            return Dinov2Config(**images, mlp_ratio=2, use_swiglu_ffn=architecture != "dinov2")
        case "dinov2_with_registers":
            return Dinov2WithRegistersConfig(**images, mlp_ratio=2, num_register_tokens=2)
        case "clip_vision_model":
            return CLIPVisionConfig(**images, intermediate_size=24)
        case "bert":
            return BertConfig(**sizes)
        case "roberta":
            return RobertaConfig(**sizes)
    raise ValueError(architecture)


def random_model(architecture: str) -> PreTrainedModel:
    """Three layers, 16 wide, ready to run; norms and scales are not ones, biases not zeros."""
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModel.from_config(config(architecture))
    with torch.no_grad():  # norms that are all ones would hide a norm that is left out
        for name, weight in model.named_parameters():
            if weight.ndim == 1 or "norm" in name.lower() or "register" in name:
                weight.add_(torch.randn_like(weight) * 0.3)
            else:
                weight.mul_(8)
    model.train(False)
    model.requires_grad_(False)
    return model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A directory with a model of three layers and its tokenizer (one special token each side)."""

    @cache
    def save(architecture: str) -> Path:
        folder = tmp_path_factory.mktemp(architecture) / f"tiny-{architecture}"
        random_model(architecture).save_pretrained(folder)
        toy_tokenizer(1, 1).save_pretrained(folder)
        return folder

    return save


@pytest.fixture
def folder(tiny_model: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of the tiny llama, to break."""
    return Path(shutil.copytree(tiny_model("llama"), tmp_path / "copy"))
