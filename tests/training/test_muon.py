"""Muon against PyTorch's on whole matrices, its AdamW part too, and which weight goes where."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from pegasus.backends.contract.learning import OptimSettings
from pegasus.backends.torch.learning import muon
from pegasus.backends.torch.learning.muon import Muon, orthogonal
from pegasus.backends.torch.learning.optim import make_optimizer


def learn(optimizer: torch.optim.Optimizer, weight: nn.Parameter, steps: int, seed: int = 3) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()


@pytest.mark.parametrize("shape", [(16, 16), (8, 24), (24, 8)])
def test_matrices_move_as_pytorchs_muon_moves_them(shape):
    start = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    learn(Muon([ours], [], lr=0.02, others_lr=0.003, weight_decay=0.1), ours, 6)
    learn(torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1), theirs, 6)
    moved = (theirs - start).abs().max()
    assert moved > 0.02
    # The rounds are in bfloat16, with products taken in another order.
    assert (ours - theirs).abs().max() < 0.03 * moved


@pytest.mark.parametrize("shape", [(5,), (7, 3)])
def test_the_rest_moves_as_pytorchs_adamw_moves_it(shape):
    start = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    learn(Muon([], [ours], lr=0.02, others_lr=0.003), ours, 8)
    learn(torch.optim.AdamW([theirs], lr=0.003, betas=(0.9, 0.98), weight_decay=0.0), theirs, 8)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("shape", [(32, 32), (12, 40), (40, 12)])
def test_singular_values_come_near_one(shape):
    generator = torch.Generator().manual_seed(2)
    left, right = (torch.randn(n, min(shape), generator=generator) for n in shape)
    sizes = torch.logspace(0, -1, min(shape))
    matrix = torch.linalg.qr(left)[0] * sizes @ torch.linalg.qr(right)[0].T
    values = torch.linalg.svdvals(orthogonal(matrix).float())
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_a_zero_gradient_moves_nothing():
    weight = nn.Parameter(torch.ones(4, 4))
    weight.grad = torch.zeros(4, 4)
    Muon([weight], [], lr=0.1, others_lr=0.1).step()
    assert torch.equal(weight, torch.ones(4, 4))


def test_embeddings_and_vectors_are_no_matrices():
    table, matrix, vector = (nn.Parameter(torch.ones(shape)) for shape in ((9, 4), (4, 4), (4,)))
    settings = OptimSettings(name="muon", rate=0.02, others_rate=0.003, weight_decay=0.01)
    inner, others = make_optimizer([table, matrix, vector], settings, {table}).param_groups
    assert [id(p) for p in inner["params"]] == [id(matrix)]
    assert [id(p) for p in others["params"]] == [id(table), id(vector)]
    assert others["share"] == pytest.approx(0.15)


def test_the_rest_follows_the_schedule_at_its_own_rate():
    weight = nn.Parameter(torch.zeros(3))
    optimizer = Muon([], [weight], lr=0.02, others_lr=0.004)
    optimizer.param_groups[0]["lr"] = 0.01  # the schedule halves the rate
    weight.grad = torch.tensor([5.0, -0.1, 2.0])
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([-0.002, 0.002, -0.002]))


def test_going_on_from_the_saved_state_is_exact():
    matrix, vector = nn.Parameter(torch.eye(6)), nn.Parameter(torch.ones(6))

    def run(optimizer: torch.optim.Optimizer, weights: list[nn.Parameter], seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for _ in range(4):
            for weight in weights:
                weight.grad = torch.randn(weight.shape, generator=generator)
            optimizer.step()

    optimizer = Muon([matrix], [vector], lr=0.02, others_lr=0.01)
    run(optimizer, [matrix, vector], 1)
    copies = [nn.Parameter(weight.detach().clone()) for weight in (matrix, vector)]
    again = Muon(copies[:1], copies[1:], lr=0.02, others_lr=0.01)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    run(optimizer, [matrix, vector], 2)
    run(again, copies, 2)
    assert torch.equal(matrix, copies[0])
    assert torch.equal(vector, copies[1])


def test_matrices_of_one_shape_together_move_as_one_by_one(monkeypatch):
    shapes = [(12, 12)] * 5 + [(8, 20)] * 3 + [(20, 8), (6,), (6,), (9, 4)]

    def moved(together: int | None) -> tuple[list[torch.Tensor], list[tuple[int, ...]]]:
        rounds = []
        monkeypatch.setattr(muon, "orthogonal", lambda x: rounds.append(tuple(x.shape)) or orthogonal(x))
        generator = torch.Generator().manual_seed(4)
        weights = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
        optimizer = Muon(
            weights[:9], weights[9:], lr=0.02, others_lr=0.01, weight_decay=0.1, together=together
        )
        for _ in range(5):
            for weight in weights:
                weight.grad = torch.randn(weight.shape, generator=generator)
            optimizer.step()
        return [weight.detach() for weight in weights], rounds[: len(rounds) // 5]

    one_by_one, single = moved(None)  # as it is on a CPU
    several, few = moved(4 * 144)
    assert len(single) == 9
    assert few == [(4, 12, 12), (12, 12), (3, 8, 20), (20, 8)]
    for one, other in zip(one_by_one, several):
        # The order of additions in products of bfloat16 is the library's own; elsewhere nothing differs.
        torch.testing.assert_close(other, one, rtol=0, atol=1e-3 if one.shape in ((12, 12), (8, 20)) else 0)


def test_a_batch_of_matrices_is_made_orthogonal_each_by_itself():
    matrices = torch.randn(3, 2, 6, 10, generator=torch.Generator().manual_seed(5))
    for one, other in zip(orthogonal(matrices).flatten(0, 1), matrices.flatten(0, 1)):
        torch.testing.assert_close(one, orthogonal(other), rtol=0, atol=0.02)
