from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from actlake.analytics.dictionaries.sparse import (
    SparseCodes,
    aux_loss,
    decode,
    select_batch,
    select_rows,
    smallest_kept,
)


def dense(codes: SparseCodes, rows: int, features: int) -> Tensor:
    stops = [*codes.starts.tolist()[1:], len(codes.features)]
    block = torch.zeros(rows, features)
    for row, (start, stop) in enumerate(zip(codes.starts.tolist(), stops, strict=True)):
        block[row, codes.features[start:stop]] = codes.values[start:stop].detach()
    return block


def activations(rows: int = 6, features: int = 10, seed: int = 0) -> Tensor:
    draws = torch.randn(rows, features, generator=torch.Generator().manual_seed(seed))
    return torch.relu(draws)


def test_select_rows__keeps_the_largest_of_each_row() -> None:
    block = activations()
    kept = dense(select_rows(block, 3), 6, 10)
    assert (kept.sort(dim=1).values[:, -3:] == block.sort(dim=1).values[:, -3:]).all()
    assert ((kept == 0) | (kept == block)).all()


def test_select_batch__keeps_the_largest_of_the_batch() -> None:
    block = activations()
    block[2] = 0  # a row without codes keeps its place
    kept = dense(select_batch(block, 2), 6, 10)
    cut = block.flatten().sort().values[-12]
    assert torch.equal(kept, torch.where(block >= cut, block, 0))


def test_select_batch__follows_a_permutation_of_rows() -> None:
    block = activations()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    kept = dense(select_batch(block, 2), 6, 10)
    assert torch.equal(dense(select_batch(block[order], 2), 6, 10), kept[order])


def test_select_batch__of_equal_rows_is_the_same_as_by_row() -> None:
    block = activations(rows=1).repeat(5, 1)
    assert torch.equal(dense(select_batch(block, 3), 5, 10), dense(select_rows(block, 3), 5, 10))


@pytest.mark.parametrize("select", [select_rows, select_batch])
def test_decode__reaches_selected_activations_only(
    select: Callable[[Tensor, int], SparseCodes],
) -> None:
    block = activations().requires_grad_()
    atoms = torch.randn(10, 4, generator=torch.Generator().manual_seed(1))
    codes = select(block, 3)
    kept = dense(codes, 6, 10)
    rebuilt = decode(codes, atoms)
    torch.testing.assert_close(rebuilt, kept @ atoms)
    weight = torch.randn(6, 4, generator=torch.Generator().manual_seed(2))
    (gradient,) = torch.autograd.grad((rebuilt * weight).sum(), block)
    selected = kept > 0
    torch.testing.assert_close(gradient[selected], (weight @ atoms.T)[selected])
    # Zeros may be selected too; what is positive and was not selected gets nothing.
    assert (gradient[~selected & (block > 0)] == 0).all()


def test_aux_loss__touches_no_live_feature() -> None:
    generator = torch.Generator().manual_seed(3)
    block = activations().requires_grad_()
    atoms = torch.randn(10, 4, generator=generator, requires_grad=True)
    residual = torch.randn(6, 4, generator=generator)
    dead = torch.arange(10) % 3 == 0
    loss = aux_loss(block, residual, atoms, dead, k=2)
    on_block, on_atoms = torch.autograd.grad(loss, (block, atoms))
    assert (on_block[:, ~dead] == 0).all()
    assert (on_atoms[~dead] == 0).all()
    assert (on_block[:, dead] != 0).any()
    assert (on_atoms[dead] != 0).any()


def test_aux_loss__is_the_unexplained_share_of_the_residual() -> None:
    block, atoms, dead = activations(), torch.eye(10), torch.ones(10, dtype=torch.bool)
    exact = decode(select_rows(block, 4), atoms)
    assert aux_loss(block, exact, atoms, dead, k=4).item() == 0
    none = torch.zeros(10, dtype=torch.bool)
    assert aux_loss(block, exact, atoms, none, k=4).item() == 0
    constant = torch.ones(6, 10)
    assert aux_loss(block, constant, atoms, dead, k=4).item() == 0
    centred = exact - exact.mean(dim=0)
    silent = aux_loss(torch.zeros(6, 10), centred, atoms, dead, k=4)
    assert silent.item() == pytest.approx(1)


def test_smallest_kept__ignores_selected_zeros() -> None:
    assert smallest_kept(select_rows(torch.tensor([[0.0, 3.0, 2.0, 0.0]]), 3)) == 2
    assert smallest_kept(select_rows(torch.zeros(2, 4), 3)) is None
