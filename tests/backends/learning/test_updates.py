"""Every other backend's updates are those of PyTorch."""

from __future__ import annotations

import pytest
import torch
from engines_of_tests import batch, engine, exported

OPTIMIZERS = {
    "adafactor": {},
    "adafactor-absolute": {"weight_decay": 0.1, "rate": 1e-3},
    "adamw": {"weight_decay": 0.1, "clip_norm": 0.5},
    "muon": {"weight_decay": 0.1},
}
#: The others compile for seconds each.
NAMES = [pytest.param(name, marks=[] if name == "adafactor" else pytest.mark.slow) for name in OPTIMIZERS]


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
@pytest.mark.parametrize("name", NAMES)
def test_the_updates_of_pytorch(name, backend, start, tmp_path):
    """Five updates of two micro-batches with both losses: losses, norms and weights."""
    objective = {"label_smoothing": 0.1, "mlm_weight": 0.5}
    ours, theirs = (
        engine(one, start, {"name": name, **OPTIMIZERS[name]}, dict(objective))
        for one in (backend, "torch")
    )
    # Muon turns matrices in bfloat16, where a last bit is a part in 256.
    close = {"rel": 2e-3, "abs": 2e-3} if name == "muon" else {"rel": 2e-5, "abs": 1e-5}
    before = float(theirs.measure(batch(0)).loss)
    for step in range(5):
        batches = [batch(2 * step), batch(2 * step + 1, rows=2)]
        found, expected = ours.step(batches), theirs.step(batches)
        assert found.counts == expected.counts
        assert found.source_tokens == expected.source_tokens
        assert (found.rate, found.skipped) == (expected.rate, expected.skipped)
        assert found.loss == pytest.approx(expected.loss, **close)
        assert found.norm == pytest.approx(expected.norm, **close)
    assert ours.measure(batch(0)).loss == pytest.approx(theirs.measure(batch(0)).loss, **close)
    assert abs(theirs.measure(batch(0)).loss - before) > 1e-3
    mine, other = exported(ours, tmp_path / "mine"), exported(theirs, tmp_path / "other")
    tolerance = 5e-3 if name == "muon" else 5e-5
    for key, weight in other.items():
        torch.testing.assert_close(mine[key], weight, atol=tolerance, rtol=tolerance, msg=key)
    assert not mine["model.shared.weight"][0].any()
