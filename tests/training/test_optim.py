"""Adafactor against the rule of ``authors.md`` section 6.3, written out number by number in float64."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from pegasus.backends.contract.learning import OptimSettings
from pegasus.backends.torch.learning.adafactor import AuthorsAdafactor
from pegasus.backends.torch.learning.optim import make_optimizer
from pegasus.errors import BadSetting


class Reference:
    """tensor2tensor 1.15's Adafactor with the authors' arguments, one number at a time, in float64."""

    def __init__(self, weight: np.ndarray, relative: bool = True) -> None:
        self.weight, self.relative, self.updates = weight.astype(np.float64), relative, 0
        rows = weight.shape[0]
        self.row, self.full = [0.0] * rows, [0.0] * rows
        self.column = [0.0] * (weight.shape[1] if weight.ndim == 2 else 0)

    def step(self, gradient: np.ndarray, rate: float) -> None:
        decay = 1 - (self.updates + 1) ** -0.8
        gradient = gradient.astype(np.float64)
        if self.weight.ndim == 1:
            update = [self._plain(i, float(g), decay) for i, g in enumerate(gradient)]
        else:
            update = self._factored(gradient, decay)
        flat = np.asarray(update).reshape(-1)
        size = math.sqrt(sum(float(u) ** 2 for u in flat) / len(flat))
        weights = self.weight.reshape(-1)
        own = math.sqrt(sum(float(x) ** 2 for x in weights) / len(weights))
        scale = max(own, 1e-3) if self.relative else 1.0
        self.weight = self.weight - rate * scale * np.asarray(update) / max(1.0, size)
        self.updates += 1

    def _plain(self, place: int, gradient: float, decay: float) -> float:
        self.full[place] = decay * self.full[place] + (1 - decay) * (gradient**2 + 1e-30)
        return gradient / math.sqrt(self.full[place])

    def _factored(self, gradient: np.ndarray, decay: float) -> list[list[float]]:
        rows, columns = gradient.shape
        square = [[float(g) ** 2 + 1e-30 for g in row] for row in gradient]
        for i in range(rows):
            self.row[i] = decay * self.row[i] + (1 - decay) * sum(square[i]) / columns
        for j in range(columns):
            mean = sum(square[i][j] for i in range(rows)) / rows
            self.column[j] = decay * self.column[j] + (1 - decay) * mean
        overall = sum(self.row) / rows
        return [
            [
                float(gradient[i, j]) / math.sqrt(self.row[i] / overall) / math.sqrt(self.column[j])
                for j in range(columns)
            ]
            for i in range(rows)
        ]


def gradients(shape: tuple[int, ...], scale: float, steps: int) -> list[np.ndarray]:
    """Rows and columns of very different sizes; one row is always zero, as that of padding is."""
    random = np.random.default_rng(5)
    found = []
    for _ in range(steps):
        gradient = (
            random.standard_normal(shape)
            * scale
            * 10.0 ** random.uniform(-2, 2, (shape[0], *[1] * (len(shape) - 1)))
        )
        gradient[0] = 0
        found.append(gradient.astype(np.float32))
    return found


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("shape", [(12, 7), (9,), (2, 5, 3)])
def test_weights_of_one_shape_together_move_as_one_by_one(shape, relative):
    def moved(together: int | None) -> list[torch.Tensor]:
        random = np.random.default_rng(1)
        weights = [nn.Parameter(torch.from_numpy(random.standard_normal(shape))) for _ in range(5)]
        weights.append(nn.Parameter(torch.ones(3, dtype=torch.float64)))
        optimizer = AuthorsAdafactor(
            weights, lr=0.1, relative=relative, weight_decay=0.1, together=together
        )
        for _ in range(4):
            for number, weight in enumerate(weights):
                gradient = random.standard_normal(weight.shape) * 10.0**-number
                weight.grad = None if number == 3 else torch.from_numpy(gradient)
            optimizer.step()
        return [weight.detach() for weight in weights]

    start, one_by_one, together = (moved(count) for count in (None, 0, 3 * math.prod(shape)))
    for plain, one, other in zip(start, one_by_one, together):
        assert torch.equal(plain, one)  # on a CPU nothing is stacked
        torch.testing.assert_close(other, one, rtol=0, atol=1e-6)


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-7])
@pytest.mark.parametrize("shape", [(12, 7), (5, 5), (9,)])
def test_sixty_steps_follow_the_authors_rule(shape, scale, relative):
    start = (np.random.default_rng(1).standard_normal(shape) * 0.03).astype(np.float32)
    reference = Reference(start, relative)
    weight = nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = AuthorsAdafactor([weight], lr=0.0, relative=relative)
    for number, gradient in enumerate(gradients(shape, scale, 60)):
        rate = 0.1 / (1 + number % 7)
        reference.step(gradient, rate)
        weight.grad = torch.from_numpy(gradient.copy())
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    moved = np.abs(reference.weight - start).max()
    assert moved > 1e-2
    assert np.abs(weight.detach().numpy() - reference.weight).max() < 3e-5 * moved
    np.testing.assert_array_equal(weight.detach().numpy()[0], start[0])


def test_one_step_by_hand():
    weight = nn.Parameter(torch.tensor([[3.0, 4.0]]))
    weight.grad = torch.tensor([[2.0, -2.0]])
    AuthorsAdafactor([weight], lr=0.1).step()
    # The first update is the sign; RMS(x) = sqrt(12.5).
    step = 0.1 * math.sqrt(12.5)
    torch.testing.assert_close(weight.detach(), torch.tensor([[3.0 - step, 4.0 + step]]))


def test_statistics_of_bfloat16_weights_are_float32():
    weight = nn.Parameter(torch.randn(4, 3).bfloat16())
    weight.grad = torch.randn(4, 3).bfloat16()
    optimizer = AuthorsAdafactor([weight], lr=0.01)
    optimizer.step()
    assert {value.dtype for value in optimizer.state[weight].values()} == {torch.float32}


def test_going_on_from_the_saved_state_is_exact():
    def run(steps, optimizer, weight, first=0):
        for gradient in gradients((6, 4), 0.1, 10)[first : first + steps]:
            weight.grad = torch.from_numpy(gradient.copy())
            optimizer.step()

    weight = nn.Parameter(torch.ones(6, 4))
    optimizer = AuthorsAdafactor([weight], lr=0.01)
    run(4, optimizer, weight)
    other = nn.Parameter(weight.detach().clone())
    again = AuthorsAdafactor([other], lr=0.01)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    run(6, optimizer, weight, 4)
    run(6, again, other, 4)
    assert torch.equal(weight, other)


def test_settings_choose_the_optimizer():
    weights = [nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))]
    assert make_optimizer(weights, OptimSettings()).param_groups[0]["relative"]
    assert not make_optimizer(weights, OptimSettings(name="adafactor-absolute")).param_groups[0]["relative"]
    adamw = make_optimizer(weights, OptimSettings(name="adamw", weight_decay=0.1))
    assert [group["weight_decay"] for group in adamw.param_groups] == [0.1, 0.0]
    with pytest.raises(BadSetting, match="weight_decay"):
        make_optimizer(weights, OptimSettings(weight_decay=0.1))
    with pytest.raises(BadSetting, match="frozen"):
        make_optimizer([nn.Parameter(torch.ones(2), requires_grad=False)], OptimSettings())
