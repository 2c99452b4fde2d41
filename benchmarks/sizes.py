"""How much work each benchmark does."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """One scale of the whole set; a group reads what it needs."""

    written_rows: int
    """Of a tensor that is written: enough that its plan and its seal weigh little."""
    tensor_rows: int
    """Of one that is read."""
    tensor_width: int
    gather_rows: int
    batch_rows: int
    encode_rows: int
    encode_width: int
    encode_features: int
    encode_k: int
    summary_rows: int
    summary_fires: int
    """Features that fire on a row, at most."""
    summary_features: int
    summary_tokens: int
    """Size of the vocabulary."""
    several_summary_rows: int
    """Of the codes that one process and two workers summarize."""
    several_encode_rows: int
    """That they encode."""
    several_model_rows: int
    """Tokens that they run through the small random model."""
    asked_features: int
    """Of which examples are asked for together."""
    model_width: int
    """Of the residual stream of a small random model."""
    model_rows: int
    """Tokens to run through it."""
    null_rows: int
    """Tokens to run through a model of that width that computes nothing."""
    real_model_rows: int
    """Tokens to run through SmolLM2, where it is installed; 0 leaves it out."""


FULL = Sizes(
    written_rows=1 << 20,
    tensor_rows=1 << 18,
    tensor_width=576,
    gather_rows=4096,
    batch_rows=1024,
    encode_rows=1 << 16,
    encode_width=576,
    encode_features=1 << 14,
    encode_k=32,
    summary_rows=1 << 17,
    summary_fires=33,
    summary_features=1 << 14,
    summary_tokens=1 << 15,
    several_summary_rows=1 << 18,
    several_encode_rows=1 << 15,
    several_model_rows=1 << 16,
    asked_features=1000,
    model_width=512,
    model_rows=1 << 18,
    null_rows=1 << 18,
    real_model_rows=1 << 13,
)
"""Meant for two quiet cores and a few minutes; a shuffled epoch alone holds some 3 GiB."""

SMALL = Sizes(
    written_rows=1 << 15,
    tensor_rows=1 << 15,
    tensor_width=576,
    gather_rows=4096,
    batch_rows=1024,
    encode_rows=1 << 12,
    encode_width=576,
    encode_features=1 << 12,
    encode_k=32,
    summary_rows=1 << 14,
    summary_fires=33,
    summary_features=1 << 12,
    summary_tokens=1 << 13,
    several_summary_rows=1 << 14,
    several_encode_rows=1 << 12,
    several_model_rows=1 << 12,
    asked_features=100,
    model_width=384,
    model_rows=1 << 12,
    null_rows=1 << 14,
    real_model_rows=0,
)
"""Does it run, and is anything badly off? Fixed costs weigh more here."""
