"""Are the words right on this device? By either step of the static decoder; part of ``gpu-bench``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"


def hexadecimal(rows: list[list[int]]) -> list[str]:
    """Tokens as the golden files write them."""
    return ["".join(f"{token:02x}" for token in row) for row in rows]


def load(folder: str, device: str, kernels: str, dtype: str = "float32") -> Any:
    """A golden model that decodes from static memory, in the way that is asked for."""
    import pegasus

    made = pegasus.PegasusForConditionalGeneration.from_pretrained(GOLDEN / folder, torch_dtype=dtype)
    model = made.to(device)
    model.static_memory, model.static_kernels, model.static_encoder = True, kernels, kernels == "triton"
    return model


def check_settings(device: str, kernels: str, share: int, texts: int | None) -> dict[str, int]:
    """Recorded settings of transformers 4.34 in float32: every ``share``-th, of some texts or all."""
    import torch

    file = json.loads((GOLDEN / "generation-basic.json").read_text())
    model = load("generation-model", device, kernels)
    inputs, right, records = torch.tensor(file["inputs"], device=device), 0, file["records"][::share]
    for record in records:
        said = hexadecimal(model.generate(inputs[:texts], **record["settings"]).tolist())
        rows = [file["rows"][row] for row in record["rows"]][: len(said)]
        right += [one.rstrip("0") for one in said] == [one.rstrip("0") for one in rows]
    return {"right": right, "of": len(records)}


def check_overflow(device: str, kernels: str, dtype: str, texts: int | None) -> dict[str, int]:
    """Texts of the model whose residual leaves float16's range that get the tokens of float32."""
    import torch

    record = json.loads((GOLDEN / "overflow.json").read_text())
    model = load("overflow-model", device, kernels, dtype)
    inputs, right, total = torch.tensor(record["inputs"], device=device)[:texts], 0, 0
    cases = list(zip(record["settings"], record["answers"]["4.34.0"]["float32"]["rows"]))
    for settings, rows in cases if texts is None else cases[:1]:
        said = hexadecimal(model.generate(inputs, **settings).tolist())
        right += sum(
            one[: len(row)] == row and not one[len(row) :].strip("0") for one, row in zip(said, rows)
        )
        total += len(said)
    return {"right": right, "of": total}


def check_bundled(device: str, kernels: str, dtype: str) -> dict[str, int]:
    """Texts of which the bundled model writes the same summary as in float32 by PyTorch's operations."""
    import pegasus

    texts = [path.read_text() for path in sorted((ROOT / "examples").glob("*.txt"))]
    texts += [part for text in texts for part in text.split("\n\n") if len(part.split()) > 40]
    said = []
    for kind, step in (("float32", "torch"), (dtype, kernels)):
        summarizer = pegasus.Summarizer.from_pretrained("pegasus-mini", device=device, dtype=kind)
        model = summarizer.writer.model
        model.static_kernels, model.static_encoder = step, step == "triton"
        said.append([one.text for one in summarizer(texts)])
    return {"right": sum(map(str.__eq__, *said)), "of": len(texts)}
