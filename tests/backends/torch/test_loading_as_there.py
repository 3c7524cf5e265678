"""Loading and saving in the forms of transformers: reports, pickles, formats of the other frameworks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from pegasus import PegasusConfig, PegasusForCausalLM, PegasusForConditionalGeneration, PegasusModel

GOLDEN = Path(__file__).parents[2] / "golden"
SIZES = {
    "vocab_size": 30, "d_model": 8, "encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 12,
    "decoder_ffn_dim": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "max_position_embeddings": 10,
}  # fmt: skip
KINDS = (PegasusModel, PegasusForConditionalGeneration, PegasusForCausalLM)


@pytest.fixture
def model():
    torch.manual_seed(1)
    return PegasusForConditionalGeneration(PegasusConfig(**SIZES)).eval()


def same(one, other):
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


class TestReports:
    @pytest.mark.parametrize("cls", KINDS)
    def test_files_without_anything_name_every_parameter(self, cls, tmp_path):
        from safetensors.torch import save_file

        cls(PegasusConfig(**SIZES)).save_pretrained(tmp_path)
        save_file({"strange": torch.ones(2)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
        made, info = cls.from_pretrained(tmp_path, output_loading_info=True)
        names = {name.removeprefix("model.") for name in made.state_dict()} - {"final_logits_bias"}
        assert set(info["missing_keys"]) == names
        assert info["unexpected_keys"] == ["strange"]

    def test_ties_of_another_shape_stand_under_each_name(self, model, tmp_path):
        torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
        model.config.save_pretrained(tmp_path)
        _, info = PegasusForConditionalGeneration.from_pretrained(
            tmp_path, vocab_size=20, ignore_mismatched_sizes=True, output_loading_info=True
        )
        tied = ["model.shared.weight", "model.encoder.embed_tokens.weight"]
        tied += ["model.decoder.embed_tokens.weight", "lm_head.weight"]
        wanted = {(name, torch.Size([30, 8]), torch.Size([20, 8])) for name in tied}
        assert set(info["mismatched_keys"]) == {*wanted, ("final_logits_bias", (1, 30), (1, 20))}

    def test_a_table_that_is_computed_is_missing_with_its_stack_only(self, model, tmp_path):
        state = model.state_dict()
        del state["model.decoder.embed_positions.weight"], state["model.decoder.layer_norm.bias"]
        torch.save(state, tmp_path / "pytorch_model.bin")
        model.config.save_pretrained(tmp_path)
        _, info = PegasusForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
        assert info["missing_keys"] == ["model.decoder.layer_norm.bias"]
        state = {name: value for name, value in state.items() if "decoder" not in name}
        torch.save(state, tmp_path / "pytorch_model.bin")
        _, info = PegasusForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
        assert "model.decoder.embed_positions.weight" in info["missing_keys"]

    def test_what_a_class_need_not_hear_of(self, model, tmp_path, caplog):
        class Quiet(PegasusForConditionalGeneration):
            _keys_to_ignore_on_load_missing: ClassVar = [r"layer_norm\.bias"]
            _keys_to_ignore_on_load_unexpected: ClassVar = [r"^strange"]
            _keys_to_ignore_on_save: ClassVar = ["model.encoder.layer_norm.bias"]

        quiet = Quiet(model.config)
        for safe in (True, False):
            quiet.save_pretrained(tmp_path / str(safe), safe_serialization=safe)
            _, info = Quiet.from_pretrained(tmp_path / str(safe), output_loading_info=True)
            assert not any(info.values())
            assert not caplog.records
            _, info = PegasusForConditionalGeneration.from_pretrained(
                tmp_path / str(safe), output_loading_info=True
            )
            assert info["missing_keys"] == ["model.encoder.layer_norm.bias"]
            caplog.clear()
        state = {**model.state_dict(), "strange.weight": torch.ones(1)}
        torch.save(state, tmp_path / "False" / "pytorch_model.bin")
        _, info = Quiet.from_pretrained(tmp_path / "False", output_loading_info=True)
        assert not info["unexpected_keys"]


class TestPickles:
    @pytest.mark.parametrize("cls", KINDS)
    def test_the_whole_state_of_one_file(self, cls, tmp_path):
        model = cls(PegasusConfig(**SIZES))
        model.save_pretrained(tmp_path)
        model.save_pretrained(tmp_path, safe_serialization=False)
        assert not (tmp_path / "model.safetensors").exists()  # loaders would take it first
        state = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
        assert set(state) == set(model.state_dict())
        assert same(model, cls.from_pretrained(tmp_path))
        assert same(model, cls.from_pretrained(tmp_path, use_safetensors=False))

    def test_shards_keep_ties_together(self, model, tmp_path):
        model.save_pretrained(tmp_path, safe_serialization=False, max_shard_size="2KB", variant="v")
        index = json.loads((tmp_path / "pytorch_model.bin.index.v.json").read_text())
        files = set(index["weight_map"].values())
        assert files <= {path.name for path in tmp_path.iterdir()}
        assert len(files) > 3
        unique = {tensor.data_ptr(): tensor.nbytes for tensor in model.state_dict().values()}
        assert index["metadata"]["total_size"] == sum(unique.values())
        assert same(model, PegasusForConditionalGeneration.from_pretrained(tmp_path, variant="v"))

    def test_a_function_of_the_caller(self, model, tmp_path):
        calls = []

        def save(state, path):
            calls.append(sorted(state))
            torch.save(state, path)

        model.save_pretrained(tmp_path, save_function=save, safe_serialization=False)
        assert calls == [sorted(model.state_dict())]
        assert same(model, PegasusForConditionalGeneration.from_pretrained(tmp_path))


def test_files_of_flax_are_asked_for(tmp_path):
    fields = json.loads((GOLDEN / "model-relu.json").read_text())["config"]
    PegasusConfig(**fields).save_pretrained(tmp_path)
    shutil.copyfile(GOLDEN / "model-relu.safetensors", tmp_path / "model.safetensors")
    plain = PegasusForConditionalGeneration.from_pretrained(tmp_path)
    shutil.copyfile(GOLDEN / "flax-model.msgpack", tmp_path / "flax_model.msgpack")
    (tmp_path / "model.safetensors").write_bytes(b"")  # would not do
    assert same(plain, PegasusForConditionalGeneration.from_pretrained(tmp_path, from_flax=True))
