"""The training loop: batches of ids in, a better model out, a checkpoint every few minutes."""

from __future__ import annotations

import logging
import math
import platform
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from feeding import Batch, Feed
from lessons import Lesson
from scales import Settings
from torch import nn

from pegasus import PegasusConfig, PegasusForConditionalGeneration
from pegasus.backends.contract import IGNORED
from pegasus.backends.torch.learning.learner import Learner
from pegasus.backends.torch.learning.muon import Muon
from pegasus.training.journal import Journal
from pegasus.training.signals import StopSignals

log = logging.getLogger(__name__)

LOG_EVERY, SAVE_SECONDS = 25, 150
COMPUTED = ("embed_positions.weight", "final_logits_bias")
"""What does not learn."""
GO_ON = 75
"""The exit status of a run that is to be started again (EX_TEMPFAIL)."""


def fresh_model(config: PegasusConfig, seed: int) -> PegasusForConditionalGeneration:
    """A model with the authors' initial weights: Glorot kernels, embeddings of deviation D^-0.5."""
    torch.manual_seed(seed)
    model = PegasusForConditionalGeneration(config)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if "shared" in name:
            nn.init.normal_(parameter, std=config.d_model**-0.5)
        elif parameter.dim() == 2:
            nn.init.xavier_uniform_(parameter)
        elif "norm" not in name:
            nn.init.zeros_(parameter)
    _silence_pad(model)
    return model


@torch.no_grad()
def _silence_pad(model: PegasusForConditionalGeneration) -> None:
    """Keep the row of pad at zero: it is what the decoder starts from, and the output layer shares it."""
    model.get_input_embeddings().weight[0] = 0


def optimizers(learner: Learner, settings: Settings) -> list[Muon]:
    """Muon for the matrices inside the layers, AdamW for the embedding, biases and norms; in two halves.

    On a CPU each half steps in a thread of its own: the matrices are too small for two to share one.
    """
    learned = [(name, p) for name, p in learner.named_parameters() if p.requires_grad]
    inner = [p for name, p in learned if p.dim() == 2 and "shared" not in name]
    outer = [p for name, p in learned if p.dim() != 2 or "shared" in name]
    rates = settings["matrix_rate"], settings["vector_rate"]
    return [Muon(inner[half::2], outer[half::2], *rates, weight_decay=0.01) for half in range(2)]


def pace(step: int, steps: int, warmup: int, decay: float, begun: int = 0) -> float:
    """The share of the rate at a step: a ramp, level, then a straight line to a fiftieth.

    The ramp begins where the optimizer knew nothing yet: at ``begun``.
    """
    left = (steps - step) / max(1.0, decay * steps)
    return min(1.0, (step - begun + 1) / warmup, max(0.02, left))


def train(
    lesson: Lesson,
    feed: Feed,
    settings: Settings,
    folder: Path,
    facts: Mapping[str, Any],
    late: Callable[[], bool] = bool,
) -> None:
    """Run ``settings["steps"]`` updates, going on from the last checkpoint in ``folder`` if there is one.

    Args:
        lesson: the model, which has learned when this returns, and what it is taught.
        feed: from the number of batches to pass over to the batches that follow.
        settings: a section of the recipe.
        folder: where state.pt (everything needed to go on) and journal.jsonl are kept.
        facts: what the journal shall say of this run beside settings and machine.
        late: asked before each update; true ends the run as a signal does.

    Raises:
        SystemExit: it ended before the last update. The state is saved, the status is ``GO_ON``.
    """
    model = lesson.learner.model
    state = _State(folder / "state.pt", model, optimizers(lesson.learner, settings))
    if state.step >= settings["steps"]:
        return
    journal, begin = Journal(folder / "journal.jsonl", state.step), time.time()
    journal.write("start", state.step, {**facts, **settings, **machine(lesson.device)})
    with StopSignals() as signals, ThreadPoolExecutor(len(state.optims)) as pool:
        saved = time.time()
        meter = _Meter(journal)
        for batch in feed(state.step):
            if state.step >= settings["steps"] or signals.asked or late():
                break
            share = pace(
                state.step, settings["steps"], settings["warmup_steps"], settings["decay"], state.begun
            )
            for group in (group for optim in state.optims for group in optim.param_groups):
                group["lr"] = settings["matrix_rate"] * share
            norm, found = _gradients(lesson, batch)
            if math.isfinite(norm):
                # An accelerator takes one thing after the other, whoever asks.
                list((pool.map if lesson.device.type == "cpu" else map)(Muon.step, state.optims))
            _silence_pad(model)
            state.step += 1
            meter.note(state.step, found, _tokens(batch), share)
            if time.time() - saved > SAVE_SECONDS:
                state.save()
                saved = time.time()
    state.save()
    ending = "end" if state.step >= settings["steps"] else "stop"
    journal.write(ending, state.step, {"seconds": round(time.time() - begin)})
    if ending == "stop":
        log.info("stopped at update %d of %d: start again to go on", state.step, settings["steps"])
        raise SystemExit(GO_ON)


class _Meter:
    """Tells the journal and the log every few updates how it goes."""

    def __init__(self, journal: Journal) -> None:
        self.journal, self.tokens, self.since = journal, 0, time.time()
        self.losses: list[dict[str, float]] = []

    def note(self, step: int, losses: dict[str, float], tokens: int, share: float) -> None:
        self.losses.append(losses)
        self.tokens += tokens
        if step % LOG_EVERY:
            return
        speed = round(self.tokens / (time.time() - self.since))
        means = {name: round(float(np.mean([one[name] for one in self.losses])), 4) for name in losses}
        numbers = {**means, "rate": round(share, 4), "tokens": self.tokens, "tokens_per_s": speed}
        self.journal.write("train", step, numbers)
        log.info("step %d loss %.3f rate %.2f tokens/s %d", step, means["loss"], share, speed)
        self.losses, self.tokens, self.since = [], 0, time.time()


def machine(device: torch.device) -> dict[str, Any]:
    """What a run is on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "machine": platform.machine(),
        "device": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _tokens(batch: Batch) -> int:
    return int(batch["attention_mask"].sum() + (batch["labels"] != IGNORED).sum())


def _gradients(lesson: Lesson, batch: Batch) -> tuple[float, dict[str, float]]:
    """Leave the clipped gradients of a batch in the weights; their norm, and the losses a token."""
    lesson.learner.zero_grad()
    found = lesson(batch)
    found["loss"].backward()
    norm = nn.utils.clip_grad_norm_(lesson.learner.parameters(), 1.0)
    # Together, so that a device is waited for once.
    first, *losses = torch.stack([norm, *(loss.detach() for loss in found.values())]).tolist()
    return first, dict(zip(found, losses, strict=True))


class _State:
    """Weights, optimizers and random numbers of a run, and the file that remembers them.

    Attributes:
        step: updates done.
        begun: at which update the optimizers knew nothing: 0, or where weights came back without them.
    """

    def __init__(self, file: Path, model: PegasusForConditionalGeneration, optims: list[Muon]) -> None:
        self.file, self.model, self.optims, self.step, self.begun = file, model, optims, 0, 0
        if not file.exists():
            return
        state = torch.load(file, map_location="cpu", weights_only=True)
        self.step = int(state["step"])
        load_weights(model, state["model"])
        if "optims" in state:
            for optim, saved in zip(optims, state["optims"], strict=True):
                optim.load_state_dict(saved)
            self.begun = int(state.get("begun", 0))
        else:
            self.begun = self.step
        self._restore_random(state.get("random", {}))
        log.info("%s goes on from update %d", file.parent.name, self.step)

    def save(self) -> None:
        partial = self.file.with_suffix(".partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        random = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            random["cuda"] = torch.cuda.get_rng_state()
        states = [optim.state_dict() for optim in self.optims]
        counts = {"step": self.step, "begun": self.begun}
        torch.save(
            {"model": self.model.state_dict(), "optims": states, "random": random, **counts}, partial
        )
        partial.replace(self.file)

    def _restore_random(self, random: Mapping[str, torch.Tensor]) -> None:
        if not random:
            torch.manual_seed(self.step)  # dropout shall not begin as the first run did
            return
        torch.set_rng_state(random["cpu"])
        if "cuda" in random and torch.cuda.is_available():
            torch.cuda.set_rng_state(random["cuda"])


def load_weights(model: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Put weights into a model; what is computed, and the other names of shared weights, may be absent.

    Raises:
        KeyError: something else is absent.
    """
    wanted = {name for name, _ in model.named_parameters() if not name.endswith(COMPUTED)}
    if absent := wanted - state.keys():
        raise KeyError(f"the state holds no {', '.join(sorted(absent))}")
    model.load_state_dict(dict(state), strict=False)
