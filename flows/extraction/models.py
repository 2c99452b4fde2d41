"""Models: what is known of one before its weights are read, and one ready to run."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModel,
    PretrainedConfig,
    PreTrainedModel,
)

from actlake.flows.extraction import sites
from actlake.flows.extraction.architectures import IMAGES
from actlake.flows.extraction.devices import choose_device
from actlake.flows.extraction.images import PROCESSOR, Patches, patches_of, read_processor
from actlake.flows.extraction.sources import (
    TOKENIZER,
    converted,
    files,
    locate,
    quiet,
    read_config,
    read_tokenizer,
    sha256,
    weight_files,
)
from actlake.storage.errors import InputError, ModelError, first_line

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# These number positions from pad_token_id + 1, so that many of their positions are never used.
_POSITIONS_AFTER_PADDING = {
    "camembert",
    "data2vec-text",
    "longformer",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What identifies a model and what planning needs, without its weights."""

    name: str
    fingerprint: str
    """SHA-256 over the name and sha256 of config, weight and tokenizer or processor files, and the
    revision."""
    source: str
    """As given: hub id, path, or package:NAME/path."""
    path: Path
    """Local directory with config, weights and tokenizer; for a GGUF file, its conversion."""
    revision: str | None
    """Commit of a hub model; for files what was given."""
    architecture: str
    """The config's model_type."""
    layers: int
    width: int
    """Of the residual stream."""
    vocabulary: int
    """Rows of the embedding, at least the tokens of the tokenizer; of images, rows of one."""
    window_limit: int | None
    """Most tokens that a window may have; None where positions have no limit."""
    tokenizer: str
    """What cuts documents into rows; of images the processor and the patches."""
    tokenizer_fingerprint: str
    """SHA-256 over the tokenizer files; of images over the processor's and the patches."""
    trust_remote_code: bool
    random_weights: int | None = None
    """Seed of weights drawn anew; None for those of the checkpoint."""
    patches: Patches | None = None
    """How images are cut into rows; None for a model that reads text."""

    @property
    def default_window(self) -> int:
        """The smaller of 1,024 and the model's limit; the rows of an image."""
        return self.patches.tokens if self.patches else min(1024, self.window_limit or 1024)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A base model, without a language-model head, that runs forward passes."""

    facts: ModelFacts
    module: PreTrainedModel
    tokenizer: Any
    """Of text, a tokenizer of transformers; of images, an image processor."""
    device: str
    compute_dtype: str
    """float32, bfloat16 or float16."""
    attention: str
    """The implementation in use."""
    last_layer: int | None
    """The last block that was kept; None for the whole model."""


def inspect_model(
    source: str,
    *,
    name: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    random_weights: int | None = None,
) -> ModelFacts:
    """The facts of the model at ``source``, named ``name`` or the last part of the source.

    Reads config and tokenizer or image processor, and hashes the weights without loading them. A
    hub model is downloaded, and a GGUF file converted, on first use. ``random_weights`` is a seed:
    the model's untrained twin, of the same architecture and tokenizer. Raises ModelError.
    """
    place = locate(source, revision)
    if place.path.is_dir():
        path, weights = place.path, weight_files(place.path, source)
        weight_hashes = _hashes(weights)
    elif place.path.suffix == ".gguf":
        digest = sha256(place.path)
        path, weight_hashes = converted(place.path, digest), [("gguf", digest)]
    else:
        raise ModelError(f"{source} is no model; give a directory or a .gguf file")
    config = read_config(path, source, trust_remote_code)
    text, patches = config.get_text_config(), None
    if config.model_type in IMAGES:
        patches = patches_of(path, source, config)
        tokenizer_hashes = _hashes(files(path, PROCESSOR))
        cut_with = [*tokenizer_hashes, ("patches", repr(patches))]
    else:
        read_tokenizer(path, source, trust_remote_code)
        cut_with = tokenizer_hashes = _hashes(files(path, TOKENIZER))
    parts = weight_hashes
    if place.path.is_dir():
        code = files(path, ["*.py"]) if trust_remote_code else []
        parts = weight_hashes + _hashes([path / "config.json", *code]) + tokenizer_hashes
    plain = place.path.stem if place.path.is_file() else _last_part(source)
    tokenizer = name = plain if name is None else name
    if random_weights is not None:
        if random_weights < 0:
            raise InputError(f"the seed of random weights is {random_weights}; give 0 or more")
        parts = [*parts, ("random weights", str(random_weights))]
        # A twin reads the rows that were cut for the model itself.
        tokenizer, name = plain, f"{plain}-random{random_weights}" if name == plain else name
    return ModelFacts(
        name=name,
        fingerprint=_digest([*parts, ("revision", place.revision or "")]),
        source=source,
        path=path,
        revision=place.revision,
        architecture=config.model_type,
        layers=text.num_hidden_layers,
        width=text.hidden_size,
        vocabulary=patches.tokens if patches else text.vocab_size,
        window_limit=patches.tokens if patches else _window_limit(text),
        tokenizer=tokenizer,
        tokenizer_fingerprint=_digest(cut_with),
        trust_remote_code=trust_remote_code,
        random_weights=random_weights,
        patches=patches,
    )


def load_tokenizer(facts: ModelFacts) -> Any:
    """The tokenizer or image processor of a model, without the model."""
    if facts.patches is not None:
        return read_processor(facts.path, facts.source)
    return read_tokenizer(facts.path, facts.source, facts.trust_remote_code)


def load_model(
    model: ModelFacts | str,
    *,
    device: str = "auto",
    compute_dtype: str = "float32",
    attention: str = "auto",
    last_layer: int | None = None,
    trust_remote_code: bool = False,
) -> LoadedModel:
    """``model``, by facts or source, ready to run on ``device``, without gradients or cache.

    ``attention`` is sdpa, eager or another of transformers; auto takes sdpa where the architecture
    has it. ``last_layer`` drops the blocks after it: sites up to there have bitwise the same rows.
    Raises ModelError for what cannot be loaded, and for weights that the checkpoint lacks.
    """
    facts = (
        inspect_model(model, trust_remote_code=trust_remote_code)
        if isinstance(model, str)
        else model
    )
    if compute_dtype not in _DTYPES:
        raise InputError(f"no compute dtype {compute_dtype!r}; choose one of {', '.join(_DTYPES)}")
    chosen = choose_device(device)
    with quiet():
        try:
            module = _module(facts, compute_dtype, None if attention == "auto" else attention)
        except MemoryError:
            raise
        except Exception as error:  # files are anybody's, and libraries raise what they like
            raise ModelError(
                f"the model {facts.source} cannot be loaded: {first_line(error)}; check its files "
                f"in {facts.path} and the attention implementation {attention}"
            ) from error
    if last_layer is not None:
        sites.truncate(module, last_layer)
    module.config.use_cache = False
    module.train(False)
    torch.nn.Module.to(module.requires_grad_(False), chosen)
    return LoadedModel(
        facts=facts,
        module=module,
        tokenizer=load_tokenizer(facts),
        device=chosen,
        compute_dtype=compute_dtype,
        attention=module.config._attn_implementation,
        last_layer=last_layer,
    )


def _module(facts: ModelFacts, compute_dtype: str, attention: str | None) -> PreTrainedModel:
    """The base model with its weights, in memory."""
    module: PreTrainedModel
    options: dict[str, Any] = {
        "attn_implementation": attention,
        "trust_remote_code": facts.trust_remote_code,
    }
    dtype = _DTYPES[compute_dtype]
    if facts.random_weights is None:
        if facts.patches is not None:  # of a CLIP, only what sees
            options["config"] = read_config(facts.path, facts.source, facts.trust_remote_code)
        module, info = AutoModel.from_pretrained(
            facts.path, dtype=dtype, output_loading_info=True, **options
        )
        _refuse_random_weights(module, info["missing_keys"], facts)
        return module
    config = read_config(facts.path, facts.source, facts.trust_remote_code)
    with torch.random.fork_rng(devices=[]):  # whoever calls keeps the numbers that follow
        torch.manual_seed(facts.random_weights)
        # Drawn in float32, so that a seed means the same weights in every compute dtype.
        module = AutoModel.from_config(config, dtype=torch.float32, **options)
    torch.nn.Module.to(module, dtype)  # in place; theirs hides torch's signature
    return module


def _refuse_random_weights(
    module: PreTrainedModel, missing: Iterable[str], facts: ModelFacts
) -> None:
    """A layer that the checkpoint lacks would be captured as noise."""
    lacking = sorted(missing)
    if any(name.startswith("pooler.") for name in lacking):
        # Encoders run without it, and masked-language checkpoints have none.
        module.register_module("pooler", None)
        lacking = [name for name in lacking if not name.startswith("pooler.")]
    if lacking:
        raise ModelError(
            f"the checkpoint {facts.source} lacks {len(lacking)} weights, such as {lacking[0]}; "
            "give a complete one"
        )


def _window_limit(config: PretrainedConfig) -> int | None:
    limit = getattr(config, "max_position_embeddings", None)
    if not isinstance(limit, int) or limit <= 0:
        return None
    if config.model_type in _POSITIONS_AFTER_PADDING:
        limit -= (config.pad_token_id or 0) + 1
    return limit


def _last_part(source: str) -> str:
    return Path(source.removeprefix("package:")).expanduser().resolve().name


def _hashes(paths: Iterable[Path]) -> list[tuple[str, str]]:
    return [(path.name, sha256(path)) for path in paths]


def _digest(parts: Iterable[tuple[str, str]]) -> str:
    text = "".join(f"{name}\0{value}\n" for name, value in sorted(parts))
    return hashlib.sha256(text.encode()).hexdigest()
