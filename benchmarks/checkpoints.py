"""Checkpoints to measure with: the shape of pegasus-large, seeded random weights, and every peer's form.

They are made once and kept in a folder, `--cache` or PEGASUS_BENCH_CACHE: some 12 GB for both shapes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

#: pegasus-large.
ARCHITECTURE = {
    "vocab_size": 96_103, "d_model": 1024, "encoder_layers": 16, "decoder_layers": 16,
    "encoder_ffn_dim": 4096, "decoder_ffn_dim": 4096, "encoder_attention_heads": 16,
    "decoder_attention_heads": 16, "max_position_embeddings": 1024, "activation_function": "relu",
    "scale_embedding": True,
}  # fmt: skip
LARGE = ARCHITECTURE | {"max_length": 256, "forced_eos_token_id": None}
SMALL = {
    "vocab_size": 2_103, "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
}  # fmt: skip
#: "small" tries the benchmarks themselves; its figures mean nothing.
SHAPES = {"large": LARGE, "16-4": LARGE | {"decoder_layers": 4}, "small": LARGE | SMALL}
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
_SIDE = 0.02  # the spread of random weights, as models are begun with

_CONVERT = """
import sys
from ctranslate2.converters import TransformersConverter
TransformersConverter(sys.argv[1]).convert(sys.argv[2], quantization=sys.argv[3] or None)
"""


def cache_folder(given: str | None) -> Path:
    """Where checkpoints are kept."""
    usual = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pegasus-bench"
    return Path(given or os.environ.get("PEGASUS_BENCH_CACHE") or usual)


def checkpoint(cache: Path, shape: str) -> Path:
    """The folder of a shape's checkpoint in float32, with a vocabulary of made-up words."""
    return _once(cache / shape, lambda draft: _make(draft, shape))


def packed(cache: Path, shape: str, dtype: str) -> Path:
    """The same, packed by us."""

    def make(draft: Path) -> None:
        from pegasus.backends.packed.model import PackedModel

        model = PackedModel.from_folder(checkpoint(cache, shape), dtype=dtype)
        model.save_packed(draft)

    return _once(cache / f"{shape}-packed-{dtype}", make)


def converted(cache: Path, shape: str, kind: str, python: str) -> Path:
    """The same as CTranslate2 wants it, int8 or fp32, converted by an interpreter that has it."""
    source = checkpoint(cache, shape)

    def make(draft: Path) -> None:
        draft.rmdir()
        say(f"converting {shape} for CTranslate2, {kind}")
        command = [python, "-c", _CONVERT, str(source), str(draft), "int8" if kind == "int8" else ""]
        subprocess.run(command, check=True, stdout=sys.stderr)
        shutil.copy(source / "spiece.model", draft)

    return _once(cache / f"{shape}-ctranslate2-{kind}", make)


def exported(cache: Path, shape: str, kind: str) -> Path:
    """The same for ONNX Runtime, int8 or fp32."""
    source = checkpoint(cache, shape)

    def make(draft: Path) -> None:
        from pegasus.cli.app import main

        draft.rmdir()
        say(f"exporting {shape} for ONNX Runtime, {kind}")
        command = ["export", str(source), "--to", "onnx", "--output", str(draft), "-q"]
        if main([*command, *(["--int8"] if kind == "int8" else [])]):
            raise SystemExit("bench: the export failed")

    return _once(cache / f"{shape}-onnxruntime-{kind}", make)


def step_bytes(shape: str, dtype: str) -> int:
    """Bytes of the weights that every step of the decoder reads: all but keys and values of the source."""
    sizes = SHAPES[shape]
    width, inner = sizes["d_model"], sizes["decoder_ffn_dim"]
    layer = 6 * width * width + 2 * width * inner  # query, key, value, out; query, out; there and back
    return BYTES[dtype] * (sizes["decoder_layers"] * layer + sizes["vocab_size"] * width)


def say(message: str) -> None:
    print(f"bench: {message}", file=sys.stderr, flush=True)


def _once(folder: Path, make: Callable[[Path], None]) -> Path:
    """A folder that is there whole or is made now."""
    if not folder.is_dir():
        draft = folder.with_name(f"{folder.name}.draft-{os.getpid()}")
        draft.mkdir(parents=True)
        try:
            make(draft)
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return folder


def _make(folder: Path, shape: str) -> None:
    from safetensors.numpy import save_file

    from pegasus import PegasusConfig
    from pegasus.spec.parameters import parameters
    from pegasus.spec.positions import sinusoid_table

    say(f"making {shape} with random weights")
    config = PegasusConfig(**SHAPES[shape])
    dice = np.random.default_rng(0)
    arrays = {}
    for leaf in parameters(config, "conditional").values():
        if leaf.kind in ("kernel", "embedding"):
            arrays[leaf.name] = dice.standard_normal(leaf.shape, np.float32) * np.float32(_SIDE)
        elif leaf.kind == "positions":
            arrays[leaf.name] = np.array(sinusoid_table(*leaf.shape), np.float32)
        else:
            arrays[leaf.name] = np.full(leaf.shape, leaf.kind == "scale", np.float32)
        if leaf.kind == "embedding":
            arrays[leaf.name][0] = 0  # padding's
    save_file(arrays, folder / "model.safetensors", {"format": "pt"})
    values = json.loads(config.to_json_string(use_diff=False))
    values["architectures"] = ["PegasusForConditionalGeneration"]
    (folder / "config.json").write_text(json.dumps(values, indent=2), "utf-8")
    _write_vocabulary(folder, config.vocab_size)


def _write_vocabulary(folder: Path, size: int) -> None:
    """Words w0, w1 ... in the place of pieces, so that a text has as many tokens as words."""
    from pegasus import PegasusTokenizer
    from pegasus.tokenization.vocabulary.model_file import CONTROL, NORMAL, UNKNOWN, PieceTable, write_model

    words = [f"▁w{number}" for number in range(size - 106)]
    table = PieceTable(
        pieces=["<pad>", "</s>", "<unk>", *words],
        scores=[0.0, 0.0, 0.0, *(-5.0 - number * 1e-5 for number in range(len(words)))],
        kinds=[CONTROL, CONTROL, UNKNOWN, *([NORMAL] * len(words))],
    )
    file = folder / "spiece.model"
    file.write_bytes(write_model(table))
    PegasusTokenizer(str(file), model_max_length=1024).save_pretrained(folder)
