"""TopK and BatchTopK sparse autoencoders, trained from batches of rows."""

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from actlake.analytics.dictionaries.dictionary import Dictionary, Scalar
from actlake.analytics.dictionaries.random import sample_mean, unit_rows
from actlake.analytics.dictionaries.sparse import (
    aux_loss,
    decode,
    select_batch,
    select_rows,
    smallest_kept,
)
from actlake.analytics.dictionaries.training import (
    Checkpoint,
    LogEntry,
    Settings,
    log_from_array,
    log_to_array,
)
from actlake.storage.errors import InputError

PARAMETERS = ("W_enc", "b_enc", "W_dec", "b_dec")


def train(
    settings: Settings, sample: NDArray[Any], batches: Iterable[NDArray[Any]], device: str = "cpu"
) -> tuple[Dictionary, list[LogEntry]]:
    """A dictionary trained on the first ``settings.steps`` of ``batches``, and its log.

    ``sample``, shape (rows, width), gives the starting bias, the scale and the variance; some
    thousand shuffled rows do. Raises InputError if the batches end early.
    """
    trainer = Trainer.start(settings, sample, device)
    source = iter(batches)
    while trainer.steps_done < settings.steps:
        batch = next(source, None)
        if batch is None:
            raise InputError(
                f"the batches ended after {trainer.steps_done} of {settings.steps} steps; give "
                "more rows, repeat them, or lower steps"
            )
        trainer.step(batch)
    return trainer.finish(), trainer.log


class Trainer:
    """A TopK autoencoder between two optimiser steps.

    Rows are divided by one number, so that E‖x‖² = width and defaults carry over between sites;
    ``finish`` folds it back into biases and threshold, so codes are in the tensor's units. Atoms
    keep unit norm: their gradient loses its part along the atom before each step, and they are
    renormalised after it. The same settings, sample, batches, device and torch threads give the
    same bits.

    Source: Gao et al. (2024), "Scaling and evaluating sparse autoencoders", arXiv 2406.04093.
    """

    def __init__(self, checkpoint: Checkpoint, device: str = "cpu") -> None:
        """The run as ``checkpoint`` left it; ``start`` makes a new one."""
        facts, arrays = checkpoint.facts, checkpoint.arrays
        self.settings = Settings.from_facts(facts)
        self.steps_done, self.rows_done = _whole(facts, "steps_done"), _whole(facts, "rows_done")
        self.scale, self.variance = _real(facts, "scale"), _real(facts, "variance")
        self.sample_rows = _whole(facts, "sample_rows")
        self.threshold = None if facts["threshold"] is None else _real(facts, "threshold")
        self.device = torch.device(device)
        self.parameters = {name: self._tensor(arrays[name]).requires_grad_() for name in PARAMETERS}
        self.rows_since_fired = self._tensor(arrays["rows_since_fired"])
        self.interval = self._tensor(arrays["interval"])
        self.interval_sum = self._tensor(arrays["interval_sum"])
        self.log = log_from_array(arrays["log"])
        self.optimizer = torch.optim.Adam(
            self.parameters.values(), betas=(self.settings.beta1, self.settings.beta2)
        )
        if self.steps_done:
            for name, parameter in self.parameters.items():
                self.optimizer.state[parameter] = {
                    "step": torch.tensor(float(self.steps_done)),
                    "exp_avg": self._tensor(arrays[f"{name}.mean"]),
                    "exp_avg_sq": self._tensor(arrays[f"{name}.square"]),
                }

    @classmethod
    def start(cls, settings: Settings, sample: NDArray[Any], device: str = "cpu") -> Self:
        """A run before its first step: b_dec the mean of ``sample``, encoder = decoderᵀ.

        Raises InputError if ``sample`` is empty, not finite, or constant.
        """
        mean = sample_mean(sample)
        width = sample.shape[1]
        rows = sample.astype(np.float32).astype(np.float64)  # as sample_mean and step see them
        scale = math.sqrt(np.square(rows).sum() / rows.size) or 1.0
        variance = float(np.square(rows - mean).sum() / len(rows) / scale**2)
        if not variance > 0:
            raise InputError("all rows of the sample are equal; there is nothing to learn")
        settings = settings.resolved(width)
        atoms = unit_rows(settings.n_features, width, settings.seed)
        arrays: dict[str, NDArray[Any]] = {
            "W_enc": np.ascontiguousarray(atoms.T),
            "b_enc": np.zeros(settings.n_features, np.float32),
            "W_dec": atoms,
            "b_dec": (mean / scale).astype(np.float32),
            "rows_since_fired": np.zeros(settings.n_features, np.int64),
            "interval": np.zeros(5),
            "interval_sum": np.zeros(width),
            "log": log_to_array([]),
        }
        facts: dict[str, Scalar] = {
            **asdict(settings),
            "steps_done": 0,
            "rows_done": 0,
            "scale": scale,
            "variance": variance,
            "sample_rows": len(sample),
            "threshold": None,
        }
        return cls(Checkpoint(arrays, facts), device)

    def step(self, batch: NDArray[Any]) -> None:
        """One optimiser step on ``batch``, shape (rows, width), at least one row, finite."""
        x = self._scaled(batch)
        W_enc, b_enc, W_dec, b_dec = (self.parameters[name] for name in PARAMETERS)
        bias = b_dec.detach()
        # Zero in value: the encoder's share of b_dec's gradient without a second big product.
        shift = (bias - b_dec) @ W_enc
        activations = torch.relu((x - bias) @ W_enc + (b_enc + shift))
        select = select_rows if self.settings.selection == "topk" else select_batch
        codes = select(activations, self.settings.k)
        error = decode(codes, W_dec) + b_dec - x
        loss = error.square().sum() / (len(x) * self.variance)
        dead, k_aux = self._dead(), self.settings.k_aux or 1
        residual = -error.detach()
        loss = loss + self.settings.aux_weight * aux_loss(activations, residual, W_dec, dead, k_aux)
        self._update(loss)
        fired = codes.features[codes.values > 0]
        self.rows_since_fired += len(x)
        self.rows_since_fired[fired] = 0
        self.steps_done += 1
        self.rows_done += len(x)
        if self.settings.selection == "batchtopk":
            self._follow_threshold(smallest_kept(codes))
        self._record(x, error.detach(), loss.item(), len(fired))

    def _update(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        atoms = self.parameters["W_dec"]
        if atoms.grad is not None:
            atoms.grad -= (atoms.grad * atoms.detach()).sum(dim=1, keepdim=True) * atoms.detach()
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.settings.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate_at(self.steps_done)
        self.optimizer.step()
        with torch.no_grad():
            atoms /= atoms.norm(dim=1, keepdim=True)

    def _dead(self) -> Tensor:
        return self.rows_since_fired >= self.settings.dead_after_rows

    def _follow_threshold(self, smallest: float | None) -> None:
        if smallest is not None:
            start = smallest if self.threshold is None else self.threshold
            self.threshold = start + self.settings.threshold_rate * (smallest - start)

    def _record(self, x: Tensor, error: Tensor, loss: float, fired: int) -> None:
        x, error = x.double(), error.double()
        squares = (x.square().sum().item(), error.square().sum().item())
        self.interval += self._tensor(np.array([len(x) * loss, len(x), *squares, fired]))
        self.interval_sum += x.sum(dim=0)
        if self.steps_done % self.settings.log_every and self.steps_done != self.settings.steps:
            return
        losses, rows, square, residual, fires = self.interval.tolist()
        total = square - self.interval_sum.square().sum().item() / rows
        self.log.append(
            LogEntry(
                step=self.steps_done,
                rows=self.rows_done,
                loss=losses / rows,
                fvu=residual / total if total > 0 else math.nan,
                l0=fires / rows,
                dead_share=self._dead().double().mean().item(),
            )
        )
        self.interval.zero_()
        self.interval_sum.zero_()

    def checkpoint(self) -> Checkpoint:
        """All that the rest of the run depends on."""
        arrays = {name: _array(value) for name, value in self.parameters.items()}
        for name, parameter in self.parameters.items():
            state = self.optimizer.state.get(parameter)
            if state:
                arrays[f"{name}.mean"] = _array(state["exp_avg"])
                arrays[f"{name}.square"] = _array(state["exp_avg_sq"])
        arrays["rows_since_fired"] = _array(self.rows_since_fired)
        arrays["interval"] = _array(self.interval)
        arrays["interval_sum"] = _array(self.interval_sum)
        arrays["log"] = log_to_array(self.log)
        return Checkpoint(arrays, {**asdict(self.settings), **self._progress()})

    def _progress(self) -> dict[str, Scalar]:
        return {
            "steps_done": self.steps_done,
            "rows_done": self.rows_done,
            "scale": self.scale,
            "variance": self.variance,
            "sample_rows": self.sample_rows,
            "threshold": self.threshold,
        }

    def finish(self) -> Dictionary:
        """The dictionary as it stands, in the units of the tensor."""
        arrays = {name: _array(value) for name, value in self.parameters.items()}
        if self.threshold is not None:
            arrays["threshold"] = np.array([self.threshold])
        for name in {"b_enc", "b_dec", "threshold"} & arrays.keys():
            arrays[name] = (arrays[name] * np.float64(self.scale)).astype(np.float32)
        config: dict[str, Scalar] = {
            "method": self.settings.selection,
            **asdict(self.settings),
            "width": arrays["W_enc"].shape[0],
            "torch_threads": torch.get_num_threads(),
            "device": self.device.type,
            **self._progress(),
        }
        del config["threshold"]  # that of scaled rows; the array holds the tensor's
        return Dictionary(self.settings.selection, config, arrays)

    def _scaled(self, batch: NDArray[Any]) -> Tensor:
        width = self.parameters["b_dec"].shape[0]
        if batch.ndim != 2 or batch.shape[1] != width or len(batch) == 0:
            raise InputError(
                f"batch {self.steps_done + 1} has shape {batch.shape}; this run trains on rows of "
                f"width {width}"
            )
        rows = batch.astype(np.float32) / np.float32(self.scale)
        if not np.isfinite(rows).all():
            raise InputError(
                f"batch {self.steps_done + 1} holds a value that is not finite; mask such rows out"
            )
        return self._tensor(rows)

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.tensor(array, device=self.device)


def _array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().numpy().copy()
    return array


def _whole(facts: Any, name: str) -> int:
    return int(facts[name])


def _real(facts: Any, name: str) -> float:
    return float(facts[name])
