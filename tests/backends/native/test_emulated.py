"""The command on processors that this machine is not: emulated ones, from before AVX on.

An emulator runs the very library that was built; instructions that the processor lacks end the process, as
they would there.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pegasus import AutoTokenizer, PegasusConfig, PegasusForConditionalGeneration
from pegasus.backends import native

ROOT = Path(__file__).resolve().parents[3]
TOKENIZER = ROOT / "tests" / "fixtures" / "tokenizer-small"
TEXT = "The committee met on Tuesday. It decided to build a bridge and to name it after a bird."
#: Each processor → the level found on it. SandyBridge has AVX without AVX2; none has AVX-VNNI or AVX-512.
PROCESSORS = {
    "Nehalem": "portable",
    "SandyBridge": "portable",
    "Haswell": "avx2",
    "EPYC-Milan": "avx2",
}


@pytest.fixture(scope="session")
def emulator() -> str:
    """The program that runs others as if on another processor."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("the processors are x86-64's")
    if why := native.reason():
        pytest.skip(why)
    if (found := shutil.which("qemu-x86_64")) is None:
        pytest.skip("no qemu-x86_64 here (Debian: apt-get install qemu-user)")
    return found


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a model that is quick to emulate; its words are chance."""
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = AutoTokenizer.from_pretrained(str(TOKENIZER))
    torch.manual_seed(5)
    config = PegasusConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=64,
        init_std=0.5,
    )
    PegasusForConditionalGeneration(config).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder


def summarize(
    *words: str, emulator: tuple[str, ...] = (), limit: float, **variables: str
) -> tuple[str, str]:
    """The summary of ``TEXT``, and the level that the command names."""
    environment = {name: value for name, value in os.environ.items() if name != "PEGASUS_CPU"}
    done = subprocess.run(
        [*emulator, sys.executable, "-m", "pegasus", "summarize", "-v", "--threads=1", *words],
        input=TEXT,
        env={**environment, "CUDA_VISIBLE_DEVICES": "", **variables},
        capture_output=True,
        text=True,
        timeout=limit,
    )
    assert done.returncode == 0, done.stderr
    said = re.search(r"the native library computes: (\w+) instructions, 1 threads", done.stderr)
    assert said is not None, done.stderr
    return done.stdout, said[1]


@pytest.mark.parametrize(("processor", "level"), PROCESSORS.items())
def test_a_tiny_model_summarizes(processor: str, level: str, emulator: str, tiny: Path) -> None:
    words = ("--model", str(tiny), "--length", "12")
    here, _ = summarize(*words, limit=120, PEGASUS_CPU=level)
    assert len(here.split()) > 3
    assert summarize(*words, emulator=(emulator, "-cpu", processor), limit=600) == (here, level)


@pytest.mark.slow
@pytest.mark.parametrize(("processor", "level"), PROCESSORS.items())
def test_the_bundled_model_summarizes(processor: str, level: str, emulator: str) -> None:
    here, _ = summarize("--dtype=float32", limit=120, PEGASUS_CPU=level)
    assert summarize("--dtype=float32", emulator=(emulator, "-cpu", processor), limit=3000) == (here, level)


def test_a_level_that_is_asked_for_and_not_there_is_told(emulator: str) -> None:
    ask = "from pegasus.backends.native import linears; print(linears.level(), *linears.levels())"
    done = subprocess.run(
        [emulator, "-cpu", "Haswell", sys.executable, "-c", ask],
        env={**os.environ, "PEGASUS_CPU": "avx512"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.stdout.split() == ["avx2", "portable", "avx2"], done.stderr
    assert "PEGASUS_CPU=avx512: this processor has not got that; avx2 is used" in done.stderr
