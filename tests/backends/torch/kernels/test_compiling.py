"""Every kernel compiles for cards that are not here, in the registers and the memory that they have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

PROGRAM = Path(__file__).parent / "compiling.py"
#: KB that a program may have of a processor's memory, by compute capability: A100, small Ampere, H100.
SHARED = {80: 163, 86: 99, 90: 227}
#: Bytes a thread that may be put aside: attention over a source in float32, in parts, puts a number or so.
SPILLED = {"float16": 0, "bfloat16": 0, "float32": 8}
KERNELS = {
    "_look_up", "_write_down", "_embed", "_norm_product", "_product", "_attend_history", "_attend_source",
    "_join", "_add_norm", "_project", "_pick", "_attend_packed",
}  # fmt: skip


def compile_all(tmp_path, capability, dtype, *rows):
    """What the kernels of steps with so many rows need; the interpreter must be off."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    command = [sys.executable, str(PROGRAM), str(capability), dtype, *map(str, rows)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    for one in found:
        assert one["spilled"] <= SPILLED[dtype], one
        assert one["shared"] <= SHARED[capability] * 1024, one
    return {one["kernel"] for one in found}


def test_for_an_h100(tmp_path):
    assert compile_all(tmp_path, 90, "float16", 8) == KERNELS


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("capability", [80, 86, 90])
def test_for_every_card_and_type(tmp_path, capability, dtype):
    found = compile_all(tmp_path, capability, dtype, 1, 8, 16, 64, 256)
    products = {"_norm_product", "_product", "_project", "_attend_packed"}  # of float32 they are PyTorch's
    assert found == (KERNELS | {"_survey"}) - (products if dtype == "float32" else set())
