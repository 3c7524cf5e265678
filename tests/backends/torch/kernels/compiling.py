"""Compiles every kernel that is started, for cards that are not here, and says what it needs of them.

    python compiling.py 90 float16 [8 64 ...]        # one line of JSON a kernel

Run as a program of its own: where the interpreter is switched on nothing can be compiled.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton
from torch.nn import functional
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from pegasus.backends.torch.inference.kernels import launch, packed_attention, step
from pegasus.backends.torch.inference.static_cache import Memory, Shape
from pegasus.backends.torch.inference.static_weights import LayerWeights, Weights

TYPES = {
    torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.float32: "*fp32", torch.int64: "*i64",
    torch.int32: "*i32", torch.uint8: "*u8", torch.bool: "*i1",
}  # fmt: skip
#: The shape of pegasus-large, of which one layer is enough.
WIDTH, HEADS, INNER, VOCABULARY = 1024, 16, 4096, 96103


def make_weights(dtype: torch.dtype) -> Weights:
    """Weights without numbers."""

    def pair(*shape: int, kind: torch.dtype = dtype) -> tuple[torch.Tensor, torch.Tensor]:
        return tuple(torch.empty(size, dtype=kind, device="meta") for size in (shape, shape[:1]))  # type: ignore[return-value]

    norm, square = pair(WIDTH, kind=torch.float32), pair(WIDTH, WIDTH)
    layer = LayerWeights(
        norm=norm, query_key_value=pair(3 * WIDTH, WIDTH), out=square, cross_norm=norm, cross_query=square,
        cross_key=square, cross_value=square, cross_out=square, last_norm=norm, inner=pair(INNER, WIDTH),
        outer=pair(WIDTH, INNER),
    )  # fmt: skip
    table, bias = pair(VOCABULARY, WIDTH)[0], pair(VOCABULARY, kind=torch.float32)[1]
    return Weights(
        layers=[layer], norm=norm, table_VD=table, head_VD=table, bias_V=bias,
        positions=lambda count: torch.empty((count, WIDTH), device="meta"), activate=functional.relu,
        embed_scale=32.0, scale=1.0, eps=1e-5, heads=HEADS,
    )  # fmt: skip


def started(dtype: torch.dtype, shape: Shape, span: int, count: int) -> list[dict[str, Any]]:
    """What a step and an encoder start, each different kernel once."""
    found: dict[str, dict[str, Any]] = {}

    def note(kernel: Any, grid: tuple[int, ...], *given: Any, **options: Any) -> None:
        names = kernel.arg_names
        constants = {name: value for name, value in options.items() if name in names}
        signature, attributes = {}, {}
        for number, name in enumerate(names):
            if name in constants:
                signature[name] = "constexpr"
                continue
            one = given[number]
            if isinstance(one, torch.Tensor):
                signature[name], even = TYPES[one.dtype], True
            elif isinstance(one, float):
                signature[name], even = "fp32", False
            elif one == 1:
                signature[name], constants[name], even = "constexpr", one, False
            else:
                signature[name], even = "i32", one % 16 == 0
            if even:
                attributes[(number,)] = [["tt.divisibility", 16]]
        settings = {"num_warps": options.get("warps", 4), "num_stages": options.get("stages", 2)}
        about = {"kernel": kernel.__name__, "constants": constants, "signature": signature, **settings}
        found[json.dumps(about)] = about | {"of": kernel, "attributes": attributes, "grid": grid}

    ordinary, launch.start = launch.start, note
    try:
        weights = make_weights(dtype)
        step.take(weights, Memory(weights, shape), span, count)
        if dtype != torch.float32:
            joined = torch.empty((shape.texts * shape.source, 3 * WIDTH), dtype=dtype, device="meta")
            starts = torch.empty(shape.texts + 1, dtype=torch.int64, device="meta")
            packed_attention.attend_packed(joined, starts, shape.source, HEADS)
    finally:
        launch.start = ordinary
    return list(found.values())


def compiled(one: dict[str, Any], capability: int) -> dict[str, Any]:
    """One kernel compiled: registers a thread, bytes spilled, bytes of shared memory."""
    constants = {(one["of"].arg_names.index(name),): value for name, value in one["constants"].items()}
    source = ASTSource(one["of"], one["signature"], constants, one["attributes"])
    options = {name: one[name] for name in ("num_warps", "num_stages")}
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    return {
        "kernel": one["kernel"], "grid": one["grid"], "shared": made.metadata.shared, **options,
        **resources(made.asm["ptx"], capability),
        "constants": one["constants"],
    }  # fmt: skip


def resources(ptx: str, capability: int) -> dict[str, int]:
    """What the assembler says of a kernel."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.ptx"
        file.write_text(ptx)
        target = f"sm_{capability}{'a' if capability >= 90 else ''}"
        command = [str(tool), "-v", f"--gpu-name={target}", str(file), "-o", f"{folder}/kernel"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    patterns = {"registers": r"Used (\d+) registers", "spilled": r"(\d+) bytes spill stores"}
    return {name: int(re.search(pattern, said).group(1)) for name, pattern in patterns.items()}  # type: ignore[union-attr]


def main() -> None:
    capability, kind, *rows = sys.argv[1:]
    done: set[str] = set()
    for beams_rows in [int(one) for one in rows] or [8]:
        for span in (64, 512):
            shape = Shape.holding(max(1, beams_rows // 8), min(8, beams_rows), span, 512)
            for one in started(getattr(torch, kind), shape, span, 16):
                name = json.dumps([one["kernel"], one["constants"], one["signature"]])
                if name not in done:
                    done.add(name)
                    print(json.dumps(compiled(one, int(capability))), flush=True)


if __name__ == "__main__":
    main()
