"""Loading and saving by name, over a model of NumPy arrays."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pegasus.errors import (
    BadSetting,
    CheckpointCorrupt,
    CheckpointMismatch,
    CheckpointNotFound,
    NotOffered,
    UnsupportedArgument,
)
from pegasus.spec.config import PegasusConfig
from pegasus.spec.parameters import parameters

POSITIONS = ("model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight")


def _rewrite(folder: Path, change: Any) -> dict[str, np.ndarray]:
    """The folder's weights, changed."""
    weights = load_file(folder / "model.safetensors")
    changed = change(weights) or weights
    save_file(changed, folder / "model.safetensors", {"format": "pt"})
    return changed


class TestThereAndBack:
    def test_equal(self, model: Any, folder: Path) -> None:
        loaded, info = type(model).from_pretrained(folder, output_loading_info=True)
        assert loaded.finished
        assert loaded.filled == list(POSITIONS)
        for name, array in model.weights.items():
            if name not in POSITIONS:
                np.testing.assert_array_equal(loaded.weights[name], array, err_msg=name)
        assert info == {"missing_keys": [], "unexpected_keys": [], "mismatched_keys": [], "error_msgs": []}

    def test_shards(self, model: Any, tmp_path: Path) -> None:
        model.save_pretrained(tmp_path, max_shard_size="1KB")
        assert len(list(tmp_path.glob("model-*"))) > 3
        loaded = type(model).from_pretrained(tmp_path)
        np.testing.assert_array_equal(
            loaded.weights["model.shared.weight"], model.weights["model.shared.weight"]
        )

    def test_the_files(self, model: Any, folder: Path) -> None:
        assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
        config = json.loads((folder / "config.json").read_text())
        assert config["architectures"] == ["ArrayModel"]
        assert config["torch_dtype"] == "float32"
        assert config["normalize_before"] is True
        assert config["normalize_embedding"] is False

    def test_saving_does_not_change_the_configuration(self, model: Any, tmp_path: Path) -> None:
        before = model.config.to_dict()
        model.save_pretrained(tmp_path)
        assert model.config.to_dict() == before

    def test_settings_of_generate_go_beside(self, model: Any, tmp_path: Path) -> None:
        class Settings:
            def to_json_string(self) -> str:
                return '{"num_beams": 8}\n'

        model.generation_config = Settings()
        model.save_pretrained(tmp_path)
        assert (tmp_path / "generation_config.json").read_text() == '{"num_beams": 8}\n'

    def test_settings_of_generate_are_read(
        self, model: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []
        monkeypatch.setattr(
            type(model), "_load_generation_config", lambda self, place: asked.append(place), raising=False
        )
        type(model).from_pretrained(folder)
        assert asked == [folder]

    def test_a_state_of_the_callers(self, model: Any, tmp_path: Path) -> None:
        state = {name: array * 2 for name, array in model.weights.items()}
        state["lm_head.weight"] = state["model.encoder.embed_tokens.weight"] = state["model.shared.weight"]
        model.save_pretrained(tmp_path, state_dict=state)
        written = load_file(tmp_path / "model.safetensors")
        assert written.keys() == set(model.weights) - set(POSITIONS)
        np.testing.assert_array_equal(
            written["model.shared.weight"], model.weights["model.shared.weight"] * 2
        )

    def test_other_processes_write_nothing(self, model: Any, tmp_path: Path) -> None:
        model.save_pretrained(tmp_path / "none", is_main_process=False)
        assert not (tmp_path / "none").exists()

    @pytest.mark.parametrize("spelling", ["float16", "torch.float16", np.float16, np.dtype("float16")])
    def test_dtype(self, model: Any, folder: Path, spelling: Any) -> None:
        for name in ("dtype", "torch_dtype"):
            loaded = type(model).from_pretrained(folder, **{name: spelling})
            assert (loaded.dtype, loaded.config.dtype_name) == ("float16", "float16")

    def test_dtype_of_the_checkpoint(self, model: Any, folder: Path) -> None:
        _rewrite(
            folder, lambda weights: {name: array.astype(np.float16) for name, array in weights.items()}
        )
        assert type(model).from_pretrained(folder).dtype == "float32"
        assert type(model).from_pretrained(folder, dtype="auto").dtype == "float32"  # as config.json says
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "torch_dtype": None}))
        assert type(model).from_pretrained(folder, dtype="auto").dtype == "float16"

    @pytest.mark.parametrize("wrong", ["int8", "quick", 16, "float8_e4m3fn"])
    def test_no_such_dtype(self, model: Any, folder: Path, wrong: Any) -> None:
        with pytest.raises(BadSetting, match=r"dtype is .*: give 'auto' or one of float64, float32"):
            type(model).from_pretrained(folder, dtype=wrong)


class TestConfiguration:
    def test_fields_as_keywords(self, model: Any, folder: Path) -> None:
        loaded = type(model).from_pretrained(
            folder, dropout=0.5, add_cross_attention=False, max_position_embeddings=99
        )
        assert (loaded.config.dropout, loaded.config.max_position_embeddings) == (0.5, 99)
        assert loaded.weights[POSITIONS[0]].shape == (99, 8)

    def test_an_object(self, model: Any, folder: Path) -> None:
        config = PegasusConfig.from_pretrained(folder, dropout=0.7)
        loaded = type(model).from_pretrained(folder, config=config, attention_dropout=0.6)
        assert (loaded.config.dropout, loaded.config.attention_dropout) == (0.7, 0.6)
        assert config.attention_dropout == 0.0
        assert loaded.config is not config

    def test_a_place(self, model: Any, folder: Path, tmp_path: Path) -> None:
        PegasusConfig.from_pretrained(folder, dropout=0.8).save_pretrained(tmp_path / "other")
        assert type(model).from_pretrained(folder, config=tmp_path / "other").config.dropout == 0.8

    def test_where_it_came_from(self, model: Any, folder: Path) -> None:
        assert type(model).from_pretrained(folder).config.name_or_path == str(folder)

    def test_none_in_the_folder(self, model: Any, folder: Path) -> None:
        (folder / "config.json").unlink()
        with pytest.raises(
            CheckpointNotFound, match=r"has no config\.json \(found: model\.safetensors\): give"
        ):
            type(model).from_pretrained(folder)
        assert type(model).from_pretrained(folder, config=model.config).finished

    def test_one_that_is_not_json(self, model: Any, folder: Path) -> None:
        (folder / "config.json").write_text("<html>")
        with pytest.raises(CheckpointCorrupt, match=r"config\.json is not JSON"):
            type(model).from_pretrained(folder)

    def test_a_table_asked_for_by_name_wins_over_a_stored_one(self, model: Any, folder: Path) -> None:
        _rewrite(folder, lambda weights: weights | {name: model.weights[name] for name in POSITIONS})
        assert type(model).from_pretrained(folder).filled == []
        loaded = type(model).from_pretrained(folder, position_table="authors")
        assert loaded.filled == list(POSITIONS)


class TestNamesOfTheOthers:
    """Checkpoints of each of the three classes go into each."""

    @pytest.mark.parametrize("source", ["bare", "conditional", "causal"])
    @pytest.mark.parametrize("target", ["bare", "conditional", "causal"])
    def test_what_both_have_is_equal(
        self, models: Any, tmp_path: Path, source: str, target: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        made = models[source].random()
        made.save_pretrained(tmp_path)
        with caplog.at_level(logging.INFO):
            loaded, info = models[target].from_pretrained(tmp_path, output_loading_info=True)
        norms = {"bare": "decoder.layer_norm.weight"}
        norm = "model.decoder.layer_norm.weight"
        np.testing.assert_array_equal(
            loaded.weights[norms.get(target, norm)], made.weights[norms.get(source, norm)]
        )
        embedding = {"bare": "shared.weight", "conditional": "model.shared.weight"}
        last = "model.decoder.embed_tokens.weight"
        np.testing.assert_array_equal(
            loaded.weights[embedding.get(target, last)], made.weights[embedding.get(source, last)]
        )
        strange = {("conditional", "bare"): 1, ("conditional", "causal"): 36, ("bare", "causal"): 35}
        assert len(info["unexpected_keys"]) == strange.get((source, target), 0)
        if source == "causal" and target != "causal":
            assert all("encoder" in name for name in info["missing_keys"])
            assert len(info["missing_keys"]) == 35  # the table of positions too
            assert "initialized at random" in caplog.text
        else:
            assert info["missing_keys"] == []
            assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
        left_out = "leaves out on purpose" in caplog.text
        assert left_out == (
            (source, target) in {("conditional", "bare"), ("conditional", "causal"), ("bare", "causal")}
        )

    @pytest.mark.parametrize(
        "name", ["lm_head.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"]
    )
    def test_the_embedding_under_any_of_its_names(self, model: Any, folder: Path, name: str) -> None:
        _rewrite(folder, lambda weights: weights | {name: weights.pop("model.shared.weight")})
        loaded, info = type(model).from_pretrained(folder, output_loading_info=True)
        np.testing.assert_array_equal(
            loaded.weights["model.shared.weight"], model.weights["model.shared.weight"]
        )
        assert not any(info.values())

    def test_all_the_copies_at_once(self, model: Any, folder: Path) -> None:
        shared = model.weights["model.shared.weight"]
        names = ["lm_head.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"]
        _rewrite(folder, lambda weights: weights | {name: shared.copy() for name in names})
        _, info = type(model).from_pretrained(folder, output_loading_info=True)
        assert not any(info.values())

    def test_an_untied_head_is_a_parameter(self, models: Any, tmp_path: Path) -> None:
        made = models["conditional"].random(tie_word_embeddings=False)
        made.save_pretrained(tmp_path)
        loaded = models["conditional"].from_pretrained(tmp_path)
        np.testing.assert_array_equal(loaded.weights["lm_head.weight"], made.weights["lm_head.weight"])
        _rewrite(
            tmp_path, lambda weights: {name: w for name, w in weights.items() if name != "lm_head.weight"}
        )
        _, info = models["conditional"].from_pretrained(tmp_path, output_loading_info=True)
        assert info["missing_keys"] == ["lm_head.weight"]

    def test_positions_of_another_length_and_no_bias(self, model: Any, folder: Path) -> None:
        def change(weights: dict[str, np.ndarray]) -> None:
            weights[POSITIONS[0]] = np.ones((3, 8), np.float32)
            weights[POSITIONS[1]] = np.ones((10, 8), np.float32)
            del weights["final_logits_bias"]

        _rewrite(folder, change)
        loaded, info = type(model).from_pretrained(folder, output_loading_info=True)
        assert loaded.filled == ["final_logits_bias", POSITIONS[0]]
        np.testing.assert_array_equal(loaded.weights[POSITIONS[1]], np.ones((10, 8)))
        assert not any(info.values())


class TestWhatDoesNotFit:
    def _spoil(self, folder: Path) -> None:
        def change(weights: dict[str, np.ndarray]) -> None:
            weights["model.decoder.layer_norm.bias"] = np.ones(5, np.float32)
            weights["model.encoder.layers.0.fc1.weight"] = np.ones((12, 9), np.float32)
            del weights["model.encoder.layer_norm.bias"], weights["model.decoder.layers.0.fc2.bias"]
            weights["classification_head.weight"] = np.ones(2, np.float32)

        _rewrite(folder, change)

    def test_one_complete_report(self, model: Any, folder: Path) -> None:
        self._spoil(folder)
        with pytest.raises(CheckpointMismatch) as caught:
            type(model).from_pretrained(folder)
        message = str(caught.value)
        assert "2 of another shape" in message
        assert "model.decoder.layer_norm.bias has [5] and needs [8]" in message
        assert "model.encoder.layers.0.fc1.weight has [12, 9] and needs [12, 8]" in message
        assert "2 missing: model.encoder.layer_norm.bias, model.decoder.layers.0.fc2.bias" in message
        assert "1 unexpected: classification_head.weight" in message
        assert "ignore_mismatched_sizes=True" in message
        assert "\n" not in message

    def test_initialized_anew_when_asked_for(
        self, model: Any, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        self._spoil(folder)
        loaded, info = type(model).from_pretrained(
            folder, ignore_mismatched_sizes=True, output_loading_info=True
        )
        assert info["mismatched_keys"] == [
            ("model.encoder.layers.0.fc1.weight", (12, 9), (12, 8)),
            ("model.decoder.layer_norm.bias", (5,), (8,)),
        ]
        assert info["missing_keys"] == ["model.encoder.layer_norm.bias", "model.decoder.layers.0.fc2.bias"]
        assert info["unexpected_keys"] == ["classification_head.weight"]
        assert set(loaded.filled) == {
            *POSITIONS,
            *info["missing_keys"],
            *(name for name, *_ in info["mismatched_keys"]),
        }
        for name in loaded.filled:
            if name not in POSITIONS:
                assert name in caplog.text

    def test_nothing_fits_at_all(self, model: Any, folder: Path) -> None:
        save_file({"bert.embeddings": np.ones(3, np.float32)}, folder / "model.safetensors")
        with pytest.raises(
            CheckpointMismatch, match=r"None of the model's .* such as bert.embeddings, and PEGASUS needs"
        ):
            type(model).from_pretrained(folder)

    def test_a_configuration_of_another_size(self, model: Any, folder: Path) -> None:
        with pytest.raises(
            CheckpointMismatch, match=r"model\.shared\.weight has \[30, 8\] and needs \[31, 8\]"
        ):
            type(model).from_pretrained(folder, vocab_size=31)


class TestArguments:
    @pytest.mark.parametrize(
        "name",
        ["load_in_8bit", "load_in_4bit", "quantization_config", "trust_remote_code", "proxies", "mirror"],
    )  # fmt: skip
    def test_refused_by_name(self, model: Any, folder: Path, name: str) -> None:
        with pytest.raises(UnsupportedArgument, match=f"`{name}` is not taken here: .{{10,}}"):
            type(model).from_pretrained(folder, **{name: "auto"})

    @pytest.mark.parametrize("name", ["from_tf", "device_map", "load_in_8bit", "trust_remote_code"])
    def test_asking_for_nothing_is_no_offence(self, model: Any, folder: Path, name: str) -> None:
        for nothing in (None, False):
            assert type(model).from_pretrained(folder, **{name: nothing}).finished

    @pytest.mark.parametrize("name", ["device_map", "state_dict"])
    def test_a_backend_need_not_offer_it(self, model: Any, folder: Path, name: str) -> None:
        with pytest.raises(NotOffered, match=f"takes no `{name}`"):
            type(model).from_pretrained(folder, **{name: {"": "cpu"}})

    def test_without_a_name(self, model: Any) -> None:
        with pytest.raises(BadSetting, match="give a name, or both `config` and `state_dict`"):
            type(model).from_pretrained(None, config=model.config)

    @pytest.mark.parametrize("kind", ["eager", "sdpa"])
    def test_attention_is_chosen_here(self, model: Any, folder: Path, kind: str) -> None:
        assert type(model).from_pretrained(folder, attn_implementation=kind).finished
        with pytest.raises(UnsupportedArgument, match="attn_implementation='flash_attention_2'"):
            type(model).from_pretrained(folder, attn_implementation="flash_attention_2")

    def test_without_effect(self, model: Any, folder: Path) -> None:
        assert type(model).from_pretrained(folder, low_cpu_mem_usage=True, resume_download=True).finished

    def test_unknown_ones_are_all_named(self, model: Any, folder: Path) -> None:
        with pytest.raises(
            UnsupportedArgument, match=r"does not know `droput`, `beams`: neither an argument nor a field"
        ):
            type(model).from_pretrained(folder, droput=0.1, beams=4)
        with pytest.raises(UnsupportedArgument, match=r"does not know `droput`"):
            type(model).from_pretrained(folder, config=model.config, droput=0.1)

    def test_without_names(self, model: Any, folder: Path) -> None:
        with pytest.raises(UnsupportedArgument, match=r"1 arguments without a name"):
            type(model).from_pretrained(folder, model.config)

    def test_safetensors_or_nothing(self, model: Any, folder: Path) -> None:
        assert type(model).from_pretrained(folder, use_safetensors=True).finished
        with pytest.raises(CheckpointNotFound, match=r"holds no pytorch_model\.bin"):
            type(model).from_pretrained(folder, use_safetensors=False)
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        with pytest.raises(
            CheckpointNotFound, match=r"holds no model\.safetensors \(found: config\.json, pytorch_model"
        ):
            type(model).from_pretrained(folder, use_safetensors=True)

    def test_a_pickle_is_asked_for(self, model: Any, tmp_path: Path) -> None:
        """The training is over by then: weights are not lost for the sake of a format."""
        with pytest.warns(FutureWarning, match=r"asks for a pickle, which this backend does not write"):
            model.save_pretrained(tmp_path, safe_serialization=False)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]

    def test_a_function_for_saving_is_not_called(self, model: Any, tmp_path: Path) -> None:
        model.save_pretrained(tmp_path, save_function=pytest.fail)
        assert (tmp_path / "model.safetensors").is_file()

    def test_unknown_ones_of_a_save(self, model: Any, tmp_path: Path) -> None:
        with pytest.raises(UnsupportedArgument, match=r"save_pretrained does not know `max_shard`"):
            model.save_pretrained(tmp_path, max_shard="1GB")

    @pytest.mark.parametrize(("size", "count"), [("5GB", 2), ("200", 10)])
    def test_a_variant_lies_beside_the_others(
        self, model: Any, tmp_path: Path, size: str, count: int
    ) -> None:
        model.save_pretrained(tmp_path, variant="small", max_shard_size=size)
        names = sorted(path.name for path in tmp_path.iterdir())
        assert len(names) >= count
        assert "model.small.safetensors" in names or "model.safetensors.index.small.json" in names
        with pytest.raises(CheckpointNotFound, match=r"but the weights of variant='small'"):
            type(model).from_pretrained(tmp_path)
        loaded = type(model).from_pretrained(tmp_path, variant="small")
        np.testing.assert_array_equal(
            loaded.weights["model.shared.weight"], model.weights["model.shared.weight"]
        )
        other = type(model).random(seed=5)
        other.save_pretrained(tmp_path)
        assert set(names) < {path.name for path in tmp_path.iterdir()}
        np.testing.assert_array_equal(
            type(model).from_pretrained(tmp_path).weights["model.shared.weight"],
            other.weights["model.shared.weight"],
        )
        model.save_pretrained(tmp_path, variant="small", max_shard_size="150")
        model.save_pretrained(tmp_path, variant="small")
        assert len(list(tmp_path.glob("*small*"))) == 1  # the shards of the save before are gone

    def test_files_that_ask_for_each_other(self, model: Any, folder: Path) -> None:
        for words in ({"from_tf": True, "from_flax": True}, {"from_tf": True, "use_safetensors": True}):
            with pytest.raises(BadSetting, match=r"from_tf and .* ask for different files"):
                type(model).from_pretrained(folder, **words)
        with pytest.raises(CheckpointNotFound, match=r"holds no flax_model\.msgpack \(found"):
            type(model).from_pretrained(folder, from_flax=True)

    def test_saving_into_a_file(self, model: Any, tmp_path: Path) -> None:
        (tmp_path / "x").write_text("")
        with pytest.raises(BadSetting, match=r"is a file: give a folder to save into"):
            model.save_pretrained(tmp_path / "x")


def test_what_a_save_writes_is_the_table_of_parameters(model: Any, folder: Path) -> None:
    written = load_file(folder / "model.safetensors")
    leaves = parameters(model.config, "conditional")
    assert written.keys() == leaves.keys() - set(POSITIONS)
    for name, array in written.items():
        assert array.shape == leaves[name].shape
