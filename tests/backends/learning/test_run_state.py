"""A run's state and LoRA without a framework: rows from any number of files, names, shapes, merging."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from pegasus import PegasusConfig
from pegasus.backends.contract.learning import LoraSettings
from pegasus.backends.learning import lora
from pegasus.backends.learning.run_state import SavedState, Spot, write_state
from pegasus.checkpoint.raw import RawTensor
from pegasus.errors import BadSetting, CheckpointCorrupt, CheckpointMismatch
from pegasus.spec.parameters import parameters

WEIGHT = np.arange(35, dtype=np.float32).reshape(7, 5)
SMALL = PegasusConfig(
    vocab_size=20, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
    decoder_attention_heads=2, encoder_ffn_dim=12, decoder_ffn_dim=12,
)  # fmt: skip


def save(folder, spots):
    """A run of as many processes as there are spots, each with its rows of one weight."""
    for rank, spot in enumerate(spots):
        mine = {"model/w": RawTensor.from_array(WEIGHT[spot.start : spot.stop])}
        if rank == 0:
            mine["model/whole"] = RawTensor.from_array(WEIGHT[0])
        write_state(folder, rank, len(spots), mine, {"optimizer": "adamw"}, {"model/w": spot})


@pytest.mark.parametrize("saved", [[(0, 7)], [(0, 4), (4, 7)], [(0, 3), (3, 6), (6, 7), (7, 7)]])
@pytest.mark.parametrize("wanted", [(0, 7), (0, 2), (2, 5), (5, 7), (7, 7)])
def test_rows_come_back_whatever_files_they_lie_in(tmp_path, saved, wanted):
    save(tmp_path, [Spot(*rows, 7) for rows in saved])
    state = SavedState(tmp_path)
    assert state.ranks == len(saved)
    np.testing.assert_array_equal(
        state.read("model/w", Spot(*wanted, 7)).array(), WEIGHT[wanted[0] : wanted[1]]
    )
    np.testing.assert_array_equal(state.read("model/w").array(), WEIGHT)
    np.testing.assert_array_equal(state.read("model/whole").array(), WEIGHT[0])
    assert sorted(state.names("model/")) == ["w", "whole"]


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(CheckpointCorrupt, match="no saved run"):
        SavedState(tmp_path)
    save(tmp_path, [Spot(0, 7, 7)])
    state = SavedState(tmp_path)
    with pytest.raises(CheckpointMismatch, match="belongs to another job"):
        state.read("model/other")
    with pytest.raises(CheckpointMismatch, match="7 rows; the model has 8"):
        state.read("model/w", Spot(0, 4, 8))
    with pytest.raises(CheckpointMismatch, match="'adamw', this job has 'muon'"):
        state.require_optimizer("muon")


def test_layers_names_and_shapes_are_those_of_peft():
    peft = importlib.import_module("peft")
    torch = importlib.import_module("torch")
    from pegasus import PegasusForConditionalGeneration
    from pegasus.backends.torch.learning.lora import insert

    assert peft
    settings = LoraSettings(rank=3, targets=("v_proj", "fc1"))
    torch.manual_seed(0)
    model = PegasusForConditionalGeneration(SMALL)
    insert(model, settings)
    state = {name: tuple(value.shape) for name, value in model.named_parameters()}
    leaves = parameters(SMALL, "conditional")
    layers = lora.adapted_layers(leaves.values(), settings)
    assert len(layers) == 5
    expected = {
        lora.base_name(name, layers): leaf.shape
        for name, leaf in leaves.items()
        if leaf.kind not in ("positions", "logits_bias")
    }
    for layer, shape in layers.items():
        expected |= {lora.side_name(layer, k): v for k, v in lora.side_shapes(shape, settings).items()}
    assert {k: v for k, v in state.items() if "embed_positions" not in k} == expected
    for layer, (_, into) in layers.items():
        first = dict(model.named_parameters())[lora.side_name(layer, "A")]
        assert 0.5 < float(first.detach().abs().max()) / lora.first_bound(into) <= 1


def test_products_are_merged_into_what_they_stood_beside():
    settings = LoraSettings(rank=1, alpha=2.0, targets=("fc1",))
    state = {
        "x.fc1.base_layer.weight": np.ones((2, 3)), "x.fc1.base_layer.bias": np.zeros(2),
        "x.fc1.lora_A.summary.weight": np.array([[1.0, 2.0, 3.0]]),
        "x.fc1.lora_B.summary.weight": np.array([[1.0], [10.0]]), "x.fc2.weight": np.ones(1),
    }  # fmt: skip
    plain = lora.merged(state, settings, lambda w, a, b, factor: w + factor * (b @ a))
    assert sorted(plain) == ["x.fc1.bias", "x.fc1.weight", "x.fc2.weight"]
    np.testing.assert_array_equal(plain["x.fc1.weight"], [[3, 5, 7], [21, 41, 61]])


def test_a_target_that_is_no_layer_is_refused():
    with pytest.raises(BadSetting, match=r"\['q_porj'\]"):
        lora.adapted_layers(
            parameters(SMALL, "conditional").values(), LoraSettings(targets=("q_porj", "fc1"))
        )
