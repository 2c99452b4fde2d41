import json
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from actlake.analytics.dictionaries.dictionary import Dictionary
from actlake.analytics.dictionaries.random import unit_rows
from actlake.analytics.dictionaries.topk import Trainer, train
from actlake.analytics.dictionaries.training import Checkpoint, Settings
from actlake.analytics.evaluation.reconstruction import ReconstructionSums
from actlake.analytics.evaluation.recovery import recovery
from actlake.storage.errors import InputError

Selection = Literal["topk", "batchtopk"]


class Planted:
    """Rows that are sums of ``active`` of ``atoms`` unit atoms, coefficients U(0.5, 1.5)."""

    def __init__(self, atoms: int, width: int, active: int, seed: int = 0) -> None:
        self.atoms = unit_rows(atoms, width, seed)
        self.active = active
        self.rng = np.random.default_rng(seed + 1)

    def rows(self, n: int) -> NDArray[np.float32]:
        chosen = self.rng.random((n, len(self.atoms))).argpartition(self.active, axis=1)
        chosen = chosen[:, : self.active]
        sizes = self.rng.uniform(0.5, 1.5, (n, self.active)).astype(np.float32)
        rows: NDArray[np.float32] = np.einsum("na,nad->nd", sizes, self.atoms[chosen])
        return rows

    def batches(self, rows: int) -> Iterator[NDArray[np.float32]]:
        while True:
            yield self.rows(rows)


def held_out(dictionary: Dictionary, rows: NDArray[np.float32]) -> dict[str, float]:
    codes = dictionary.encode(rows)
    return ReconstructionSums.of(rows, dictionary.decode(codes), codes).finish()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("selection", "features", "least"),
    [
        ("topk", 128, 0.97),
        ("topk", 64, 0.92),
        ("batchtopk", 128, 0.97),
        ("batchtopk", 64, 0.92),
    ],
)
def test_train__recovers_planted_atoms(selection: Selection, features: int, least: float) -> None:
    """dictionaries.A0 and F2, rows A2/A3: 64 atoms in R³², 3 active; random atoms reach 0.4."""
    planted = Planted(64, 32, 3)
    settings = Settings(
        n_features=features,
        k=3,
        steps=750,
        selection=selection,
        learning_rate=4e-3,
        warmup_steps=50,
        dead_after_rows=25_000,
    )
    dictionary, log = train(settings, planted.rows(4096), planted.batches(512))
    assert recovery(planted.atoms, dictionary.arrays["W_dec"]).recall >= least
    found = held_out(dictionary, planted.rows(20_000))
    assert found["fvu"] < 0.1
    assert found["l0"] == pytest.approx(3, rel=0.02)
    assert log[-1].fvu == pytest.approx(found["fvu"], rel=0.1)
    assert log[-1].l0 == pytest.approx(3, rel=0.02)


def test_train__recovers_a_small_dictionary_quickly() -> None:
    planted = Planted(12, 16, 2)
    settings = Settings(n_features=12, k=2, steps=600, learning_rate=5e-3, log_every=200)
    dictionary, log = train(settings, planted.rows(2000), planted.batches(256))
    found = recovery(planted.atoms, dictionary.arrays["W_dec"])
    assert min(found.recall, found.precision, found.matched) > 0.97
    assert [entry.step for entry in log] == [200, 400, 600]
    assert [entry.rows for entry in log] == [200 * 256, 400 * 256, 600 * 256]
    assert log[0].fvu > log[1].fvu > log[2].fvu
    assert log[-1].dead_share == 0


def test_threshold__of_batchtopk_keeps_k_on_average() -> None:
    """dictionaries.A3: iid half-normal activations, F = 512, k = 16, 200 batches of 256."""
    rng, size, k = np.random.default_rng(0), 512, 16
    settings = Settings(n_features=size, k=k, steps=200, selection="batchtopk", learning_rate=0.0)
    start = Trainer.start(settings, rng.standard_normal((512, size))).checkpoint()
    still = {
        **start.arrays,
        "W_enc": np.eye(size, dtype=np.float32),
        "b_dec": np.zeros(size, np.float32),
    }
    trainer = Trainer(Checkpoint(still, start.facts))
    for _ in range(200):
        trainer.step(np.abs(rng.standard_normal((256, size))))
    dictionary = trainer.finish()
    codes = dictionary.encode(np.abs(rng.standard_normal((2000, size))).astype(np.float32))
    assert codes.nnz / 2000 == pytest.approx(k, rel=0.02)
    assert np.diff(codes.indptr).std() > 1  # a row may use more than another


def trainer_with(**changes: Any) -> tuple[Trainer, Planted]:
    planted = Planted(20, 8, 2)
    settings: dict[str, Any] = {"n_features": 24, "k": 3, "steps": 20, "log_every": 6, **changes}
    return Trainer.start(Settings(**settings), planted.rows(500)), planted


@pytest.mark.parametrize("selection", ["topk", "batchtopk"])
def test_resume__ends_in_the_same_bits(selection: Selection) -> None:
    changes = {"selection": selection, "dead_after_rows": 8, "learning_rate": 1e-2}
    whole, planted = trainer_with(**changes)
    batches = [planted.rows(4) for _ in range(20)]
    for batch in batches:
        whole.step(batch)

    first, _ = trainer_with(**changes)
    for stop in (0, 7, 13):
        while first.steps_done < stop:
            first.step(batches[first.steps_done])
        saved = first.checkpoint()
        first.step(batches[-1])  # the checkpoint is a copy: what follows leaves it alone
        facts = json.loads(json.dumps(dict(saved.facts)))
        arrays = {
            name: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape)
            for name, a in saved.arrays.items()
        }
        first = Trainer(Checkpoint(arrays, facts))
    for batch in batches[13:]:
        first.step(batch)

    assert first.log == whole.log
    assert len(whole.log) == 4
    assert any(entry.dead_share > 0 for entry in whole.log)  # the auxiliary loss took part
    a, b = first.finish(), whole.finish()
    assert a.config == b.config
    assert a.arrays.keys() == b.arrays.keys()
    for name, array in b.arrays.items():
        np.testing.assert_array_equal(a.arrays[name], array, err_msg=name)


def test_train__depends_on_the_seed_and_on_nothing_else() -> None:
    def run(seed: int) -> NDArray[np.float32]:
        planted = Planted(20, 8, 2)
        settings = Settings(n_features=24, k=3, steps=5, seed=seed)
        return train(settings, planted.rows(100), planted.batches(32))[0].arrays["W_dec"]

    np.testing.assert_array_equal(run(0), run(0))
    assert np.abs(run(0) - run(1)).max() > 0.1


def test_step__has_the_gradient_of_the_plain_dense_model() -> None:
    trainer, planted = trainer_with(clip_norm=1e9, dead_after_rows=1)
    trainer.rows_since_fired += torch.arange(24) % 4 == 0  # some features are dead
    batch = planted.rows(64)
    before = {name: value.detach().clone() for name, value in trainer.parameters.items()}
    dead = trainer.rows_since_fired >= 1
    trainer.step(batch)

    p = {name: value.requires_grad_() for name, value in before.items()}
    x = torch.tensor(batch) / trainer.scale
    activations = torch.relu((x - p["b_dec"]) @ p["W_enc"] + p["b_enc"])
    keep = torch.zeros_like(activations).scatter(1, activations.topk(3, dim=1).indices, 1.0)
    error = x - ((activations * keep) @ p["W_dec"] + p["b_dec"])
    own = torch.where(dead, activations, 0)
    chosen = torch.zeros_like(own).scatter(1, own.topk(4, dim=1).indices, 1.0)
    left = error.detach()
    aux = (left - (own * chosen) @ p["W_dec"]).square().sum()
    aux = aux / (left - left.mean(dim=0)).square().sum()
    loss = error.square().sum(dim=1).mean() / trainer.variance + aux / 32
    expected = dict(zip(p, torch.autograd.grad(loss, list(p.values())), strict=True))
    atoms = before["W_dec"].detach()
    along = (expected["W_dec"] * atoms).sum(dim=1, keepdim=True)
    expected["W_dec"] = expected["W_dec"] - along * atoms
    for name, gradient in expected.items():
        found = trainer.parameters[name].grad
        torch.testing.assert_close(found, gradient, rtol=1e-4, atol=1e-6, msg=name)
    assert trainer.settings.k_aux == 4


def test_step__keeps_atoms_at_unit_norm() -> None:
    trainer, planted = trainer_with(learning_rate=0.1)
    for _ in range(5):
        trainer.step(planted.rows(32))
    norms = trainer.parameters["W_dec"].detach().norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(24), rtol=1e-6, atol=0)


def test_step__a_selected_zero_is_not_a_firing() -> None:
    # Peers count what top-k selects, so that a silent feature never looks dead.
    trainer, planted = trainer_with(log_every=1)
    with torch.no_grad():
        trainer.parameters["b_enc"].fill_(-100)
        trainer.parameters["b_enc"][5] = 100
    trainer.step(planted.rows(32))
    assert trainer.rows_since_fired.tolist() == [0 if j == 5 else 32 for j in range(24)]
    assert trainer.log[-1].l0 == 1


def test_step__counts_dead_features_in_rows() -> None:
    trainer, planted = trainer_with(log_every=1, dead_after_rows=64, learning_rate=0.0)
    with torch.no_grad():
        trainer.parameters["b_enc"][:6] = -100
    shares = []
    for _ in range(3):
        trainer.step(planted.rows(32))
        shares.append(trainer.log[-1].dead_share)
    assert shares == [0, 6 / 24, 6 / 24]


def test_finish__folds_the_scale_so_that_codes_are_in_units_of_the_rows() -> None:
    def run(factor: float) -> Dictionary:
        planted = Planted(20, 8, 2)
        settings = Settings(n_features=24, k=3, steps=10, selection="batchtopk")
        batches = (factor * batch for batch in planted.batches(32))
        return train(settings, factor * planted.rows(100), batches)[0]

    plain, large = run(1.0), run(1024.0)  # a power of two scales without rounding
    rows = Planted(20, 8, 2, seed=9).rows(50)
    assert large.config["scale"] == 1024 * float(str(plain.config["scale"]))
    small_codes, large_codes = plain.encode(rows), large.encode(1024 * rows)
    np.testing.assert_array_equal(large_codes.values, 1024 * small_codes.values)
    np.testing.assert_array_equal(large_codes.indices, small_codes.indices)


def test_settings__rate_warms_up_holds_and_falls() -> None:
    settings = Settings(n_features=2**14, k=1, steps=1000).resolved(width=10)
    rates = [settings.learning_rate_at(step) for step in (0, 24, 49, 500, 799, 900, 999)]
    assert rates == pytest.approx([2e-4 * f for f in (0.02, 0.5, 1, 1, 1, 0.5, 0.005)])
    assert settings.k_aux == 5
    assert Settings(n_features=2**12, k=1, steps=1).resolved(8).learning_rate == 4e-4


def test_settings__refuse_what_cannot_be() -> None:
    for changes, message in (
        ({"k": 25}, "k is 25 and the dictionary has 24 features"),
        ({"k": 0}, "k is 0"),
        ({"n_features": 0}, "n_features is 0"),
        ({"steps": 0}, "steps is 0"),
        ({"selection": "jumprelu"}, "choose topk or batchtopk"),
    ):
        with pytest.raises(InputError, match=message):
            trainer_with(**changes)


def test_train__refuses_bad_rows() -> None:
    settings = Settings(n_features=4, k=2, steps=3)
    rows = Planted(4, 8, 2).rows(40)
    with pytest.raises(InputError, match="ended after 2 of 3 steps"):
        train(settings, rows, [rows, rows])
    with pytest.raises(InputError, match="rows of the sample are equal"):
        train(settings, np.full((9, 8), 0.1), [])
    with pytest.raises(InputError, match="at least 1 row"):
        train(settings, rows[:0], [])
    with pytest.raises(InputError, match="batch 1 has shape"):
        train(settings, rows, [rows[:, :5]])
    with pytest.raises(InputError, match="batch 2 holds a value that is not finite"):
        train(settings, rows, [rows, np.full((2, 8), np.nan)])
