"""What ``gpu-bench training`` counts: operations as PyTorch counts them, tokens, the order of its cases."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pegasus import PegasusConfig, PegasusForConditionalGeneration

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu_training.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("gpu_training", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its records look themselves up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize("layers", [(1, 1), (2, 1), (1, 3)])
def test_operations_are_those_that_pytorch_counts(layers, bench):
    fields = bench.sized(503, 64, layers, 4, 96)
    shape = bench.Shape(fields, 3, 21, 8, "muon", 0.1)
    batch = bench.batch_of(bench.np.random.default_rng(0), shape, bench.np.full(3, 21), bench.np.full(3, 8))
    model = PegasusForConditionalGeneration(PegasusConfig(**fields)).eval()
    ids, labels = (torch.from_numpy(batch[name]).long() for name in ("input_ids", "labels"))
    with (
        FlopCounterMode(display=False) as counter,
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
    ):
        model(input_ids=ids, labels=labels)
    causal = layers[1] * 3 * 2 * 8**2 * 64  # the half of it that nobody looks at is multiplied too
    assert 3 * (counter.get_total_flops() - causal) == pytest.approx(bench.operations(fields, batch))


def test_padding_is_neither_a_token_nor_an_operation(bench):
    shape = bench.SMALL["small"]
    batch = bench.batches(shape)[0]
    rows = [{name: array[i : i + 1] for name, array in batch.items()} for i in range(shape.rows)]
    cut = [
        {
            "attention_mask": row["attention_mask"][:, : row["attention_mask"].sum()],
            "labels": row["labels"][:, : (row["labels"] >= 0).sum()],
        }
        for row in rows
    ]
    assert bench.tokens(batch) == sum(one["attention_mask"].size + one["labels"].size for one in cut)
    assert bench.tokens(batch) < batch["input_ids"].size + batch["labels"].size
    wanted = sum(bench.operations(shape.fields, one) for one in cut)
    assert bench.operations(shape.fields, batch) == pytest.approx(wanted)


def test_what_matters_most_comes_first(bench):
    found = list(bench.cases("python", {"one": None, "two": None}))
    assert [label for name, label, _ in found if name == "one"][:3] == [
        "ours, all on", "transformers", "ours, all off",
    ]  # fmt: skip
    assert found[1][:2] == ("two", "ours, all on")
    assert len(found) == 2 * 9
    assert all(label != "transformers" for _, label, _ in bench.cases(None, {"one": None}))
