"""Every public name of transformers 4.34's classes stands in the guide, and what it says is true."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pegasus import PegasusConfig, PegasusForCausalLM, PegasusForConditionalGeneration, PegasusModel
from pegasus.errors import NotOffered

ROOT = Path(__file__).resolve().parents[2]
NAMES = json.loads((ROOT / "tests" / "golden" / "transformers-names.json").read_text())["names"]
PAGE = (ROOT / "docs" / "coming-from-transformers.md").read_text(encoding="utf-8")
TITLES = {
    "PreTrainedModel": "### Models (`PreTrainedModel`)",
    "GenerationMixin": "### Generation (`GenerationMixin`)",
    "PretrainedConfig": "### Configuration (`PretrainedConfig`)",
    "PretrainedConfig fields": "### Fields of every configuration",
}
ROW = re.compile(r"^\| `(\w+)` \| (same|better|different|refused) \|", re.MULTILINE)
SMALL = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8,
         "encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": 16,
         "max_position_embeddings": 8}  # fmt: skip


def table(kind: str) -> dict[str, str]:
    section = PAGE.split(TITLES[kind], 1)[1].split("\n#", 1)[0]
    return dict(ROW.findall(section))


@pytest.mark.parametrize("kind", NAMES)
def test_the_guide_lists_every_name(kind):
    assert table(kind).keys() == set(NAMES[kind])


@pytest.mark.parametrize("cls", [PegasusModel, PegasusForConditionalGeneration, PegasusForCausalLM])
def test_models_have_them(cls):
    model = cls(PegasusConfig(**SMALL))
    head = () if cls is PegasusModel else ("PreTrainedModel", "GenerationMixin")
    for kind in head or ("PreTrainedModel",):
        absent = [name for name in NAMES[kind] if not hasattr(model, name)]
        assert not absent


def test_what_is_refused_says_what_to_do():
    model = PegasusForConditionalGeneration(PegasusConfig(**SMALL))
    refused = [name for name, word in table("PreTrainedModel").items() if word == "refused"]
    assert len(refused) > 3
    for name in refused:
        with pytest.raises(NotOffered, match=f"{name} is not offered: .{{10,}}"):
            getattr(model, name)()


@pytest.mark.parametrize("kind", ["PretrainedConfig", "PretrainedConfig fields"])
def test_configurations_have_them(kind):
    config = PegasusConfig()
    assert not [name for name in NAMES[kind] if not hasattr(config, name)]
