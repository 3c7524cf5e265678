"""Which model the summarizer gets on a CPU, what it says of it, and that no framework is loaded for it."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pegasus import PegasusForConditionalGeneration, Summarizer, Summary
from pegasus.backends import choose, load_backend
from pegasus.backends.native import NO_NATIVE, reason
from pegasus.backends.packed.model import PackedModel
from pegasus.cli import app
from pegasus.errors import BadSetting, NotOffered

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
TEXT = (
    "The council met on Monday. It voted to build a new bridge over the river, which will cost nine "
    "million and open in two years. Many people had asked for it since the old one was closed after a "
    "flood."
)


def open_model(folder: Path, **options: object) -> object:
    return choose.open_model(folder, **{"device": "cpu", "threads": 1, **options})


def test_a_cpu_gets_packed_weights_that_lose_nothing(engine, tmp_path):
    """float32, or what the files hold where that computes the same."""
    model = PegasusForConditionalGeneration.from_pretrained(GOLDEN / "generation-model")
    for dtype, picked in (("float32", "float32"), ("float16", "float16"), ("bfloat16", "float32")):
        model.to(getattr(__import__("torch"), dtype)).save_pretrained(tmp_path / dtype)
        found = open_model(tmp_path / dtype)
        assert isinstance(found, PackedModel)
        assert found.dtype == picked, dtype


def test_float16_files_packed_as_they_are_say_what_float32_says(engine, tmp_path):
    model = PegasusForConditionalGeneration.from_pretrained(GOLDEN / "generation-model")
    model.half().save_pretrained(tmp_path)
    ids = np.array([[17, 84, 5, 9, 1], [33, 8, 1, 0, 0]])
    options = {"num_beams": 4, "max_length": 24, "return_dict_in_generate": True}
    short, wide = (
        open_model(tmp_path, dtype=dtype).generate(ids, **options) for dtype in ("auto", "float32")
    )
    np.testing.assert_array_equal(short.sequences, wide.sequences)
    np.testing.assert_allclose(short.sequences_scores, wide.sequences_scores, rtol=1e-5)


def test_int8_says_that_it_is_approximate(engine, caplog, tmp_path):
    with caplog.at_level(logging.WARNING, logger="pegasus"):
        model = open_model(GOLDEN / "generation-model", dtype="int8")
        assert [record.message for record in caplog.records] == [
            "int8 is approximate: words may differ from those of float32"
        ]
        caplog.clear()
        model.save_packed(tmp_path)
        open_model(tmp_path)
        assert "approximate" in caplog.text


def test_without_the_library_the_plain_modules_compute(caplog, monkeypatch, tmp_path, engine):
    open_model(GOLDEN / "generation-model", dtype="int8").save_packed(tmp_path)
    monkeypatch.setenv(NO_NATIVE, "1")
    with caplog.at_level(logging.INFO, logger="pegasus"):
        assert isinstance(open_model(GOLDEN / "generation-model"), PegasusForConditionalGeneration)
    assert f"slower than the native library: {NO_NATIVE} is set" in caplog.text
    with pytest.raises(BadSetting, match=f"int8 is for the native library, and here {NO_NATIVE} is set"):
        open_model(GOLDEN / "generation-model", dtype="int8")
    with pytest.raises(NotOffered, match=f"{NO_NATIVE} is set"):
        open_model(tmp_path)


def test_int8_is_for_a_cpu(monkeypatch, tmp_path, engine):
    monkeypatch.setattr(choose, "_may_have_accelerator", lambda: True)
    with pytest.raises(BadSetting, match="int8 computes on a CPU"):
        choose.open_model(GOLDEN / "generation-model", device="cuda", dtype="int8")
    open_model(GOLDEN / "generation-model", dtype="int8").save_packed(tmp_path)
    with pytest.raises(BadSetting, match="is packed for a CPU"):
        choose.open_model(tmp_path, device="cuda")


def test_a_driver_without_a_device_ends_on_the_cpu(monkeypatch):
    asked = []
    monkeypatch.setattr(choose, "_may_have_accelerator", lambda: True)
    monkeypatch.setattr(load_backend("torch"), "best_device", lambda: asked.append(1) or "cpu")
    assert isinstance(choose.open_model(GOLDEN / "generation-model", threads=1), PackedModel)
    assert asked


@pytest.mark.parametrize("devices", ["", "-1"])
def test_hidden_devices_are_not_looked_for(monkeypatch, devices):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)
    monkeypatch.setattr(sys, "platform", "linux")
    assert not choose._may_have_accelerator()


def test_other_devices_get_the_plain_modules():
    model = choose.open_model(GOLDEN / "generation-model", device="meta")
    assert isinstance(model, PegasusForConditionalGeneration)


def test_summarizing_loads_no_framework():
    """A command ends in a third of the time that importing PyTorch alone takes."""
    if why := reason():
        pytest.skip(why)
    code = (
        "import sys\nfrom pegasus import Summarizer\n"
        "opened = Summarizer.from_pretrained('pegasus-mini', device='cpu', threads=1)\n"
        f"made = opened({TEXT!r}, explain=True)\n"
        "assert made.text and made.explanation\n"
        "print([n for n in ('torch', 'jax', 'tensorflow') if n in sys.modules])"
    )
    environment = {"PATH": "", NO_NATIVE: ""}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "[]"


def shares(summary: Summary) -> list[float]:
    return [support.share for sentence in summary.explanation for support in sentence.support]


def test_the_summarizer_says_the_same_on_packed_weights_and_on_plain_modules(engine):
    from pegasus.summarizer.text_codec import TextCodec
    from pegasus.summarizer.writer import ModelWriter

    packed = Summarizer.from_pretrained("pegasus-mini", device="cpu", threads=1)
    plain = PegasusForConditionalGeneration.from_pretrained("pegasus-mini")
    other = Summarizer(ModelWriter(plain), TextCodec(packed.reader.tokenizer))
    texts = [TEXT, (Path(__file__).resolve().parents[3] / "examples" / "mars.txt").read_text()]
    # The folder's list of common words is known to the first alone.
    for one, two in zip(packed(texts, explain=True, faithful="off"), other(texts, explain=True)):
        assert one.text == two.text
        assert one.score == pytest.approx(two.score, abs=1e-4)
        assert shares(one) == pytest.approx(shares(two), abs=1e-3)


def test_pack_on_the_command_line(engine, tmp_path, capsys):
    out = tmp_path / "packed"
    assert app.main(["pack", "pegasus-mini", "--dtype", "int8", "-o", str(out), "--threads", "1"]) == 0
    assert re.search(r"packed: \d+ MB in int8\n", capsys.readouterr().err)
    (tmp_path / "text.txt").write_text(TEXT)
    assert app.main(["summarize", "-m", str(out), str(tmp_path / "text.txt"), "--threads", "1"]) == 0
    said = capsys.readouterr()
    assert said.out.strip() in TEXT
    assert app.main(["summarize", "-m", str(out), "--dtype", "float32", str(tmp_path / "text.txt")]) == 2
    assert "packed as int8" in capsys.readouterr().err


def test_a_checkpoint_is_not_packed_over(tmp_path, capsys):
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert app.main(["pack", "pegasus-mini", "-o", str(tmp_path)]) == 2
    assert "holds a checkpoint" in capsys.readouterr().err
