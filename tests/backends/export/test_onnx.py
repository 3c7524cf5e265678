"""ONNX Runtime over exported files: the logits and the words of PyTorch, whatever the search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pegasus.backends.choose import open_model
from pegasus.errors import BadSetting, CheckpointCorrupt, CheckpointNotFound, NotOffered
from pegasus.generation.model_inputs import Request
from pegasus.generation.session import Ask

IDS = np.array([[5, 9, 7, 12, 1], [8, 3, 1, 0, 0], [4, 4, 11, 1, 0]])
MASK = (IDS != 0).astype(np.int64)
SEARCHES = {
    "greedy": {"num_beams": 1},
    "beams": {"num_beams": 3, "num_return_sequences": 2},
    "the authors' beams": {"num_beams": 3, "search": "authors", "length_penalty": 0.6, "min_length": 5},
    "groups": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5},
    "rules": {"num_beams": 2, "no_repeat_ngram_size": 2, "min_length": 6},
    "drafted from the source": {"num_beams": 1, "prompt_lookup_num_tokens": 2},
    "without a cache": {"num_beams": 2, "use_cache": False},
    "sampling": {"do_sample": True, "seed": 3, "top_k": 5},
}


@pytest.fixture
def models(plain: Path, exported: Path):
    return open_model(plain, backend="torch", device="cpu", threads=1), open_model(exported, threads=1)


def test_it_is_chosen_for_its_folder(models):
    assert [type(model).__name__ for model in models] == ["PegasusForConditionalGeneration", "OnnxModel"]


@pytest.mark.parametrize("kind", SEARCHES)
def test_every_search_says_the_same(models, kind):
    found = [
        np.asarray(
            model.generate(
                model.to_native(IDS), attention_mask=model.to_native(MASK), max_length=12, **SEARCHES[kind]
            )
        )
        for model in models
    ]
    assert found[0].shape[1] > 4
    np.testing.assert_array_equal(*found)


def test_the_logits_one_by_one_and_together(models):
    read = np.array([[0, 5, 9, 7], [0, 8, 8, 2], [0, 3, 10, 11]])
    sessions = [
        model.open_session(Request(input_ids=model.to_native(IDS), attention_mask=model.to_native(MASK)))
        for model in models
    ]
    together = [session.step(Ask(read, count=None, positions=4)).log_probs_RC for session in sessions]
    np.testing.assert_allclose(together[1], together[0], atol=1e-5)
    session = models[1].open_session(Request(input_ids=IDS, attention_mask=MASK))
    rows = [session.step(Ask(read[:, place : place + 1], count=None)).log_probs_RC for place in range(4)]
    np.testing.assert_allclose(np.stack(rows, 1).reshape(together[0].shape), together[0], atol=1e-5)


def test_what_the_files_do_not_have(models, plain, exported, tmp_path):
    model = models[1]
    room = model.config.max_position_embeddings
    with pytest.raises(BadSetting, match=f"have {room} positions and {room + 1} are needed"):
        model.generate(np.full((1, room + 1), 5))
    with pytest.raises(BadSetting, match=f"{room + 1} are needed"):
        model.generate(IDS, attention_mask=MASK, min_length=room + 2, max_length=room + 3)
    with pytest.raises(NotOffered, match="attentions or hidden states"):
        model.generate(IDS, output_attentions=True, return_dict_in_generate=True)
    with pytest.raises(NotOffered, match="where the decoder looked"):
        model.attend([5, 1], [7, 1])
    with pytest.raises(BadSetting, match="padding from end to end"):
        model.generate(np.zeros((1, 3), np.int64), attention_mask=np.zeros((1, 3), np.int64))
    for options in ({"device": "cuda"}, {"dtype": "bfloat16"}):
        with pytest.raises(BadSetting):
            open_model(exported, backend="onnx", **options)
    with pytest.raises(CheckpointNotFound, match=r"no encoder\.onnx and no decoder\.onnx"):
        open_model(plain, backend="onnx")
    for name in ("encoder.onnx", "config.json"):
        (tmp_path / name).write_bytes((exported / name).read_bytes())
    (tmp_path / "decoder.onnx").write_bytes((exported / "decoder.onnx").read_bytes()[:500])
    with pytest.raises(CheckpointCorrupt, match=r"decoder\.onnx cannot be read"):
        open_model(tmp_path)


def test_they_do_not_say_where_they_were_made(exported):
    for path in exported.glob("*.onnx"):
        content = path.read_bytes()
        assert not [
            word for word in (b"site-packages", b"modules.py", b"/src/", b"forward") if word in content
        ]
