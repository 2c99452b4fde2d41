"""From the name that a user gives a model to a local directory that holds it, and its small files.

A source is a hub id, a directory, a ``.gguf`` file, or ``package:NAME/path`` for weights that an
installed Python package carries.
"""

import contextlib
import hashlib
import importlib.util
import io
import json
import os
import shutil
import warnings
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import cache
from logging import ERROR
from pathlib import Path
from typing import cast
from uuid import uuid4

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of its HTTP client
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedTokenizerBase,
)
from transformers.quantizers.base import HfQuantizer
from transformers.utils import logging

from actlake.flows.extraction.architectures import IMAGES
from actlake.storage.errors import ModelError, first_line

_WEIGHTS = ("model*.safetensors", "model*.safetensors.index.json")
_TORCH_WEIGHTS = ("pytorch_model*.bin", "pytorch_model*.bin.index.json")
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
)

LARGE_FILE = 1 << 24
"""Bytes, from which on a file is hashed once by a process, which may ask for it four times."""
HUB_SECONDS = 10
"""That the hub has to begin an answer."""
_HUB_ERRORS = (OSError, ValueError, HTTPError)
_LARGEST = {"hidden_size": 1 << 20, "num_hidden_layers": 1 << 13, "vocab_size": 1 << 25}
"""Some thirty times what the largest models have."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a source is on this machine."""

    path: Path
    """A directory, or a ``.gguf`` file."""
    revision: str | None
    """Commit of a hub model."""


def locate(source: str, revision: str | None = None) -> Place:
    """Where ``source`` is, downloading a hub model on first use.

    Raises ModelError where there is nothing, within seconds where the hub cannot be reached.
    """
    if source.startswith("package:"):
        return Place(_in_package(source), revision)
    if not source:
        raise ModelError("the model has no name; give a hub id, a path, or package:NAME/path")
    try:
        path = Path(source).expanduser()
        path.exists()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a zero byte, no such user
        raise ModelError(
            f"{source!r} is no path and no hub id: {first_line(error)}; check the model's source"
        ) from error
    if path.is_dir() or (path.is_file() and path.suffix == ".gguf"):
        return Place(path.resolve(), revision)
    if path.exists() or path.suffix == ".gguf" or source.startswith((".", "/", "~")):
        raise ModelError(
            f"no model at {source}; give a directory with config.json, a .gguf file, a hub id, or "
            "package:NAME/path"
        )
    return _from_hub(source, revision)


def _in_package(source: str) -> Path:
    package, _, rest = source.removeprefix("package:").partition("/")
    found = importlib.util.find_spec(package) if package.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise ModelError(
            f"no Python package {package!r} for the model {source}; install the package that "
            "carries it, or give a path"
        )
    for folder in found.submodule_search_locations:
        path = Path(folder, rest).resolve()
        if path.is_relative_to(Path(folder).resolve()) and (path.is_dir() or path.is_file()):
            return path
    raise ModelError(f"no {rest!r} in the package {package}; give a path that it holds")


def _from_hub(source: str, revision: str | None) -> Place:
    failure: Exception | None = None
    try:
        # To download has no such limit, and what never answers would be waited for.
        HfApi().repo_info(source, revision=revision or "main", timeout=HUB_SECONDS)
    except _HUB_ERRORS as error:
        failure = error
    patterns = ["config.json", "*processor_config.json", "*.py", *TOKENIZER]
    try:
        for weights in (_WEIGHTS, _TORCH_WEIGHTS):
            folder = Path(
                snapshot_download(
                    source,
                    revision=revision,
                    allow_patterns=[*patterns, *weights],
                    ignore_patterns=["*/*"],
                    etag_timeout=HUB_SECONDS,
                    local_files_only=failure is not None,
                )
            )
            if files(folder, weights):
                break
    except _HUB_ERRORS as error:
        at = f" at revision {revision}" if revision else ""
        reason = " ".join(str(failure or error).split())[:300].rstrip(". ")
        raise ModelError(
            f"no model {source}{at} on the hub or in its cache: "
            f"{reason or type(failure or error).__name__}; check the name, the connection and your "
            "access, or give a local path"
        ) from (failure or error)
    return Place(folder, folder.name)


def read_config(path: Path, source: str, trust_remote_code: bool) -> PretrainedConfig:
    """The config in ``path``, of a decoder or an encoder, or of what sees in a CLIP."""
    if not (path / "config.json").is_file():
        raise ModelError(f"no config.json in {path} for the model {source}; give its directory")
    with quiet():
        try:
            config: PretrainedConfig = AutoConfig.from_pretrained(
                path, trust_remote_code=trust_remote_code
            )
        except Exception as error:  # a config is anybody's text, and libraries raise what they like
            raise ModelError(
                f"the config of {source} cannot be read: {first_line(error)}; check "
                f"{path / 'config.json'}"
            ) from error
    if config.model_type == "clip":  # of its two halves, the one that sees
        config = config.vision_config
    _refuse_huge(config.get_text_config(), path / "config.json", source)
    return config


def _refuse_huge(config: PretrainedConfig, file: Path, source: str) -> None:
    """A model is built as its config says before any weight is looked at."""
    for name, most in _LARGEST.items():
        if name == "vocab_size" and config.model_type in IMAGES:
            continue
        value = getattr(config, name, None)
        if not isinstance(value, int) or not 0 < value <= most:
            raise ModelError(
                f"the config of {source} has {name} {value!r} and not 1 to {most:,}; check {file}"
            )


def read_tokenizer(path: Path, source: str, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    """The tokenizer in ``path``."""
    if not files(path, ("tokenizer.json", "vocab.*", "*.model")):
        raise ModelError(f"no tokenizer in {path} for the model {source}; add its tokenizer.json")
    with quiet():
        try:
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                path, trust_remote_code=trust_remote_code
            )
        except Exception as error:  # as above
            raise ModelError(
                f"the tokenizer of {source} cannot be read: {first_line(error)}; check its files "
                f"in {path}"
            ) from error
    return tokenizer


def weight_files(path: Path, source: str) -> list[Path]:
    """The files in ``path`` that the weights are read from."""
    found = files(path, _WEIGHTS) or files(path, _TORCH_WEIGHTS)
    if not found:
        raise ModelError(
            f"no weights in {path} for the model {source}; add model.safetensors or give the .gguf "
            "file itself"
        )
    for index in found:
        if index.name.endswith(".index.json"):
            _check_index(index, source)
    return found


def _check_index(index: Path, source: str) -> None:
    """Every file that an index names is one that is hashed with the model."""
    try:
        names = {str(name) for name in json.loads(index.read_bytes())["weight_map"].values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"the index {index} of {source} cannot be read: {first_line(error)}; mend it"
        ) from error
    known = {path.name for path in files(index.parent, (*_WEIGHTS, *_TORCH_WEIGHTS))}
    for name in sorted(names - known):
        raise ModelError(
            f"the index {index} of {source} names {name!r}, which is no file of weights beside it; "
            "give a complete model"
        )


def files(folder: Path, patterns: Iterable[str]) -> list[Path]:
    """The files right in ``folder`` that match any of ``patterns``, by name."""
    wanted = tuple(patterns)  # glob would find nothing in a folder that may not be read
    return sorted(
        path
        for path in folder.iterdir()
        if any(path.match(one) for one in wanted) and path.is_file()
    )


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; of a large one that stays as it is computed once."""
    facts = path.stat()
    if facts.st_size < LARGE_FILE:
        return _sha256(path)
    return _sha256_of(path, facts.st_ino, facts.st_size, facts.st_mtime_ns)


@cache
def _sha256_of(path: Path, _inode: int, _size: int, _written: int) -> str:
    return _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def converted(gguf: Path, digest: str) -> Path:
    """A directory with the weights of ``gguf`` as float32 safetensors, made on first use.

    It lies under $ACTLAKE_CACHE (default ~/.cache/actlake), named by ``digest``, the file's
    sha256. It appears complete, by one rename; of two processes that convert at once, one wins.
    """
    cache = Path(os.environ.get("ACTLAKE_CACHE") or "~/.cache/actlake").expanduser()
    final = cache / "models" / digest
    if final.is_dir():
        return final
    staging = final.with_name(f"{digest}.{uuid4().hex}")
    staging.mkdir(parents=True)
    try:
        _convert(gguf, staging)
        try:
            staging.rename(final)
        except OSError:
            if not final.is_dir():
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return final


def _convert(gguf: Path, folder: Path) -> None:
    name = gguf.name
    # The progress bar of this step listens to no setting.
    with quiet(), contextlib.redirect_stderr(io.StringIO()):
        try:
            config = AutoConfig.from_pretrained(gguf.parent, gguf_file=name)
            _refuse_huge(config.get_text_config(), gguf, name)
            model, info = AutoModelForCausalLM.from_pretrained(
                gguf.parent, gguf_file=name, output_loading_info=True
            )
            if lacking := sorted(info["missing_keys"]):  # which would be drawn at random
                raise ModelError(
                    f"{gguf} lacks {len(lacking)} weights, such as {lacking[0]}; give a whole one"
                )
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=name)
        except (ModelError, MemoryError):
            raise
        except Exception as error:  # as above
            raise ModelError(
                f"{gguf} cannot be converted: {first_line(error)}; give the model in safetensors"
            ) from error
        quantizer = cast(HfQuantizer, model.hf_quantizer)  # with it, the model does not save
        quantizer.remove_quantization_config(model)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """While open, transformers logs errors only, shows no bars, and torch does not warn."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(ERROR)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
