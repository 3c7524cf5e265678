"""What learning is without a framework: tokens, shares of the loss, frozen names, fresh weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pegasus.backends.contract.learning import LoraSettings, Objective
from pegasus.backends.learning.accounting import count_tokens, part_scales, source_tokens, update_totals
from pegasus.backends.learning.alone import Alone
from pegasus.backends.learning.drawing import embedding_deviation, matrix_bound
from pegasus.backends.learning.freezing import learns
from pegasus.errors import BadSetting

BATCHES = [
    {
        "input_ids": np.ones((2, 3), np.int32),
        "attention_mask": np.array([[1, 1, 1], [1, 0, 0]], np.int32),
        "labels": np.array([[5, 6, 1], [7, -100, -100]], np.int32),
    },
    {"input_ids": np.ones((1, 2), np.int32), "mlm_labels": np.array([[4, -100]], np.int32)},
]


class Three(Alone):
    """Three processes that hold the same."""

    count = 3

    def total(self, numbers):
        return [3.0 * number for number in numbers]


def test_tokens_are_counted_by_part():
    assert [count_tokens(batch, ("target", "mlm")) for batch in BATCHES] == [
        {"target": 4, "mlm": 0},
        {"target": 0, "mlm": 1},
    ]
    assert [source_tokens(batch) for batch in BATCHES] == [4, 2]
    assert source_tokens({"labels": np.ones((1, 2))}) == 0


@pytest.mark.parametrize("ranks", [Alone(), Three()])
def test_the_shares_of_an_update_add_up_to_the_weights_of_its_parts(ranks):
    objective = Objective(mlm_weight=0.5)
    counts = [count_tokens(batch, objective.parts) for batch in BATCHES]
    totals, sources = update_totals(BATCHES, counts, objective.parts, ranks)
    assert totals == {"target": 4 * ranks.count, "mlm": ranks.count}
    assert sources == 6 * ranks.count
    # Gradients are averaged over processes: each counts its tokens as many times.
    scales = [part_scales(objective, count, totals, len(BATCHES), ranks.count) for count in counts]
    for part, weight in {"target": 1.0, "mlm": 0.5}.items():
        shares = [scale[part] * count[part] for scale, count in zip(scales, counts)]
        assert sum(shares) == pytest.approx(weight)


def test_the_mean_of_means_is_that_of_the_authors():
    objective = Objective(normalize="batches", mlm_weight=0.5)
    counts = [{"target": 4, "mlm": 0}, {"target": 2, "mlm": 1}]
    scales = [part_scales(objective, count, {"target": 6, "mlm": 1}, 2, 3) for count in counts]
    assert scales == [{"target": 1 / 8, "mlm": 0.0}, {"target": 1 / 4, "mlm": 0.25}]


@pytest.mark.parametrize(
    ("name", "settings", "embedding", "expected"),
    [
        ("model.encoder.layers.0.fc1.weight", {}, False, True),
        ("model.encoder.layers.0.fc1.weight", {"frozen": ("encoder",)}, False, False),
        ("model.decoder.layers.0.fc1.weight", {"frozen": ("encoder",)}, False, True),
        ("model.shared.weight", {"frozen": ("encoder", "decoder")}, True, True),
        ("model.encoder.embed_tokens.weight", {"frozen": ("encoder",)}, True, True),
        ("model.shared.weight", {"frozen": ("embeddings",)}, True, False),
        ("model.encoder.embed_positions.weight", {}, False, False),
        ("model.decoder.layers.0.self_attn.k_proj.bias", {}, False, False),
        ("model.decoder.layers.0.self_attn.v_proj.bias", {}, False, True),
        ("model.encoder.layers.0.fc1.weight", {"lora": LoraSettings()}, False, False),
        ("model.encoder.layers.0.fc1.lora_A.weight", {"lora": LoraSettings()}, False, True),
    ],
)
def test_which_weights_learn(name, settings, embedding, expected):
    assert learns(name, Objective(**settings), embedding=embedding) is expected


def test_a_part_that_no_model_has_cannot_be_frozen():
    with pytest.raises(BadSetting, match="choose embeddings, encoder, decoder"):
        learns("model.shared.weight", Objective(frozen=("head",)), embedding=True)


def test_fresh_weights_have_the_deviation_that_is_said():
    drawn = np.random.default_rng(0).uniform(-1, 1, (300, 200)) * matrix_bound(300, 200)
    assert drawn.std() == pytest.approx((2 / 500) ** 0.5, rel=0.01)
    assert embedding_deviation(256) == 1 / 16


def test_no_framework_is_imported():
    code = (
        "import sys\n"
        "from pegasus.backends.learning import accounting, alone, drawing, freezing, scale\n"
        "assert not {'torch', 'jax', 'tensorflow'} & set(sys.modules)"
    )
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(root / "src")})
