"""Every call recorded from transformers 4.34.0, repeated: the same fields and numbers come back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

RELU = json.loads((Path(__file__).parents[1] / "golden" / "model-relu.json").read_text())
CALLS = list(RELU["calls"])
#: Which class holds the model that a call speaks to.
HOME = {"encoder": "bare", "decoder": "bare"}


class Asker:
    """Repeats recorded calls; a call that continues another repeats that one first."""

    def __init__(self, room: Any, golden: Any, models: Any) -> None:
        self.room, self.golden, self.models = room, golden, models

    def model(self, kind: str) -> Any:
        model = self.models(self.room, self.golden, HOME.get(kind, kind))
        return (
            {"encoder": model.get_encoder, "decoder": model.get_decoder}[kind]() if kind in HOME else model
        )

    def resolve(self, argument: str, reference: str) -> Any:
        if not reference.startswith("@"):
            return self.room.native(self.golden.input(reference.removeprefix("input/")))
        call, field = reference[1:].split("/")
        value = self.ask(call)[0][field]
        return (value,) if argument == "encoder_outputs" else value

    def ask(self, call: str) -> tuple[Any, dict[str, np.ndarray]]:
        record = self.golden.calls[call]
        arguments = {name: self.resolve(name, ref) for name, ref in record["arguments"].items()}
        flags = dict(record["flags"])
        if flags.pop("gradients", False):
            return self.room.gradients(self.model(record["model"]), **arguments, **flags)
        return self.room.call(self.model(record["model"]), **arguments, **flags), {}


@pytest.mark.parametrize("call", CALLS)
def test_call(call, room, golden, models, flatten, close):
    if golden.calls[call]["model"] in ("causal", "decoder") and "causal" not in room.kinds:
        pytest.skip("this room has no stand-alone decoder")
    output, gradients = Asker(room, golden, models).ask(call)
    found = flatten(output, room) | {f"gradient/{name}": value for name, value in gradients.items()}
    expected = golden.answers(call)
    assert sorted(found) == sorted(expected)
    for key, value in expected.items():
        close(found[key], value, f"{golden.name}: {call}/{key}")


def test_the_recorded_calls_exercise_what_they_say(golden):
    """Guards the golden files: masks, labels and head masks must matter, or a test above proves nothing."""
    plain = golden.answers("bare")["last_hidden_state"]
    for call in (
        "bare-no-mask",
        "bare-left-padded",
        "bare-empty-text",
        "bare-head-masks",
        "bare-decoder-mask",
    ):
        assert np.abs(golden.answers(call)["last_hidden_state"] - plain).max() > 1e-2, call
    assert (golden.input("labels") == -100).any()
    assert (golden.input("labels") == 0).any()
    losses = [golden.answers(call)["loss"] for call in ("labels", "labels-and-inputs", "causal-labels")]
    assert len({round(float(loss), 3) for loss in losses}) == 3
    assert all(
        np.abs(value).max() > 1e-6 for key, value in golden.answers("labels").items() if ".weight" in key
    )
