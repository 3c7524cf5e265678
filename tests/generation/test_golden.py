"""The tokens of transformers 4.34.0, setting by setting (scripts/golden-generation makes the files)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pegasus import PegasusForConditionalGeneration

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def golden(family: str) -> dict[str, Any]:
    return json.loads((GOLDEN / f"generation-{family}.json").read_text())


def words(row: str) -> list[int]:
    return [int(row[at : at + 2], 16) for at in range(0, len(row), 2)]


def name(record: dict[str, Any]) -> str:
    return ",".join(f"{key}={value}" for key, value in record["settings"].items())


@pytest.fixture(scope="module")
def model() -> PegasusForConditionalGeneration:
    return PegasusForConditionalGeneration.from_pretrained(GOLDEN / "generation-model")


BASIC = golden("basic")


@pytest.mark.parametrize("record", BASIC["records"], ids=name)
def test_basic(model, record):
    check(model, record, BASIC)


def check(model, record, family) -> None:
    """The same tokens and scores; dropped texts or not, recorded or not."""
    expected = [words(family["rows"][row]) for row in record["rows"]]
    inputs = torch.tensor(family["inputs"])
    found = model.generate(inputs, **record["settings"], return_dict_in_generate=True)
    assert found.sequences.tolist() == expected
    if "scores" in record:
        np.testing.assert_allclose(found.sequences_scores.numpy(), record["scores"], atol=2e-5)
