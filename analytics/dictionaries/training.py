"""What a TopK training run is told, what it reports, and what a checkpoint of it holds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.dictionaries.dictionary import Scalar, require_sizes
from actlake.storage.errors import InputError


@dataclass(frozen=True, slots=True)
class Settings:
    """Every hyper-parameter of a run; None means the default that depends on the sizes."""

    n_features: int
    k: int
    """Codes kept a row ("topk"), or a row on average ("batchtopk")."""
    steps: int
    """Batches to train on; the learning rate's schedule ends here."""
    selection: Literal["topk", "batchtopk"] = "topk"
    seed: int = 0
    """Of the initial atoms, the only thing drawn here; the order of rows is the caller's."""
    learning_rate: float | None = None
    """Default 2e-4 / √(n_features / 2¹⁴)."""
    beta1: float = 0.9
    beta2: float = 0.999
    warmup_steps: int | None = None
    """Steps of linear warm-up; default a twentieth of the steps, at most 1,000."""
    decay_share: float = 0.2
    """Share of the steps, at the end, in which the learning rate falls linearly to 0."""
    clip_norm: float = 1.0
    """Largest norm of the whole gradient, the loss being a fraction of variance."""
    aux_weight: float = 1 / 32
    k_aux: int | None = None
    """Dead features that model the residual of a row; default half the width."""
    dead_after_rows: int = 10_000_000
    """Rows without a value > 0 after which a feature counts as dead."""
    threshold_rate: float = 0.01
    """Rate at which the threshold of "batchtopk" follows the smallest value kept in a batch."""
    log_every: int = 100
    """Steps summed up in one entry of the log."""

    def __post_init__(self) -> None:
        require_sizes(self.n_features, self.k)
        for name in ("steps", "log_every", "dead_after_rows"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.selection not in ("topk", "batchtopk"):
            raise InputError(f"no selection {self.selection!r}; choose topk or batchtopk")

    def resolved(self, width: int) -> "Settings":
        """The same with every None replaced by its default."""
        rate, warmup, k_aux = self.learning_rate, self.warmup_steps, self.k_aux
        return replace(
            self,
            learning_rate=2e-4 / math.sqrt(self.n_features / 2**14) if rate is None else rate,
            warmup_steps=min(1000, self.steps // 20) if warmup is None else warmup,
            k_aux=max(1, width // 2) if k_aux is None else k_aux,
        )

    def learning_rate_at(self, step: int) -> float:
        """The rate of ``step``, counted from 0, of resolved settings."""
        warm = (step + 1) / (self.warmup_steps or 1)
        fall = (self.steps - step) / max(self.decay_share * self.steps, 1)
        return (self.learning_rate or 0.0) * min(1.0, warm, fall)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Scalar]) -> "Settings":
        values: dict[str, Any] = {field.name: facts[field.name] for field in fields(cls)}
        return cls(**values)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What the steps since the last entry came to, measured on each batch before its update."""

    step: int
    """Steps done."""
    rows: int
    """Rows consumed since the start."""
    loss: float
    """Mean squared error over the sample's variance, plus the auxiliary term."""
    fvu: float
    """Σ‖e‖² over Σ‖x - mean‖² of the interval's rows."""
    l0: float
    """Mean values > 0 a row."""
    dead_share: float
    """Share of features dead at the end of the interval."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training run between two steps: resumed, it ends in the same bits."""

    arrays: Mapping[str, NDArray[Any]]
    """Weights, optimiser moments, counters, interval sums and log; float32, float64 or int64."""
    facts: Mapping[str, Scalar]
    """JSON-able: the settings, width, steps and rows done, scale and variance."""


def log_to_array(log: list[LogEntry]) -> NDArray[np.float64]:
    """Shape (entries, 6), columns in the order of the fields."""
    rows = [[getattr(entry, field.name) for field in fields(LogEntry)] for entry in log]
    return np.array(rows, np.float64).reshape(len(log), len(fields(LogEntry)))


def log_from_array(array: NDArray[np.float64]) -> list[LogEntry]:
    return [LogEntry(int(row[0]), int(row[1]), *map(float, row[2:])) for row in array]
