"""The training loop: batches of ids in, a better model out, a checkpoint every few minutes."""

from __future__ import annotations

import logging
import math
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pegasus import PegasusConfig, PegasusForConditionalGeneration
from pegasus.backends.contract import IGNORED, Objective
from pegasus.backends.torch.learner import Learner, to_device
from pegasus.backends.torch.muon import Muon
from pegasus.training.journal import Journal
from pegasus.training.signals import StopSignals

log = logging.getLogger(__name__)

Batches = Iterator[tuple[np.ndarray, np.ndarray]]
Settings = Mapping[str, Any]
"""A section of recipe.toml."""
LOG_EVERY, SAVE_SECONDS = 25, 150


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

    Each half steps in a thread of its own: the matrices are too small for two threads to share one.
    """
    learned = [(name, p) for name, p in learner.named_parameters() if p.requires_grad]
    inner = [p for name, p in learned if p.dim() == 2 and "shared" not in name]
    outer = [p for name, p in learned if p.dim() != 2 or "shared" in name]
    rates = settings["matrix_rate"], settings["vector_rate"]
    return [Muon(inner[half::2], outer[half::2], *rates, weight_decay=0.01) for half in range(2)]


def pace(step: int, steps: int, warmup: int, decay: float) -> float:
    """The share of the rate at a step: a ramp, level, then a straight line to a fiftieth."""
    left = (steps - step) / max(1.0, decay * steps)
    return min(1.0, (step + 1) / warmup, max(0.02, left))


def train(
    model: PegasusForConditionalGeneration,
    feed: Callable[[int], Batches],
    settings: Settings,
    folder: Path,
    facts: Mapping[str, Any],
) -> None:
    """Run ``settings["steps"]`` updates, going on from the last checkpoint in ``folder`` if there is one.

    Args:
        model: where to start; it has learned when this returns.
        feed: from the number of batches to pass over to the batches that follow.
        settings: a section of recipe.toml.
        folder: where state.pt (everything needed to go on) and journal.jsonl are kept.
        facts: what the journal shall say of this run beside settings and machine.

    Raises:
        SystemExit: a signal asked for an end before the last update; the state is saved.
    """
    learner = Learner(model, Objective(parts=("target",)))
    optims = optimizers(learner, settings)
    step = _resume(folder / "state.pt", model, optims)
    journal = Journal(folder / "journal.jsonl", step)
    journal.write("start", step, {**facts, **settings, **_machine()})
    with StopSignals() as signals, ThreadPoolExecutor(len(optims)) as pool:
        saved = time.time()
        meter = _Meter(journal)
        for source, target in feed(step):
            if step >= settings["steps"] or signals.asked:
                break
            share = pace(step, settings["steps"], settings["warmup_steps"], settings["decay"])
            for group in (group for optim in optims for group in optim.param_groups):
                group["lr"] = settings["matrix_rate"] * share
            loss = _gradients(learner, _batch(source, target), settings["label_smoothing"])
            if math.isfinite(float(nn.utils.clip_grad_norm_(learner.parameters(), 1.0))):
                list(pool.map(Muon.step, optims))
            _silence_pad(model)
            step += 1
            meter.note(step, loss, int((source != 0).sum() + (target != 0).sum()), share)
            if time.time() - saved > SAVE_SECONDS:
                _save(folder / "state.pt", model, optims, step)
                saved = time.time()
    _save(folder / "state.pt", model, optims, step)
    if step < settings["steps"]:
        raise SystemExit(f"stopped at update {step} of {settings['steps']}: start again to go on")


class _Meter:
    """Tells the journal and the log every few updates how it goes."""

    def __init__(self, journal: Journal) -> None:
        self.journal, self.losses, self.tokens, self.since = journal, [], 0, time.time()

    def note(self, step: int, loss: float, tokens: int, share: float) -> None:
        self.losses.append(loss)
        self.tokens += tokens
        if step % LOG_EVERY:
            return
        speed = round(self.tokens / (time.time() - self.since))
        numbers = {"loss": round(float(np.mean(self.losses)), 4), "rate": round(share, 4)}
        self.journal.write("train", step, {**numbers, "tokens": self.tokens, "tokens_per_s": speed})
        log.info("step %d loss %.3f rate %.2f tokens/s %d", step, numbers["loss"], share, speed)
        self.losses, self.tokens, self.since = [], 0, time.time()


def _machine() -> dict[str, Any]:
    return {"machine": platform.machine(), "threads": torch.get_num_threads(), "torch": torch.__version__}


def _batch(source: np.ndarray, target: np.ndarray) -> dict[str, np.ndarray]:
    """Ids as the batch that ``Learner`` reads."""
    labels = np.where(target == 0, IGNORED, target)
    return {"input_ids": source, "attention_mask": (source != 0).astype(np.int64), "labels": labels}


def _gradients(learner: Learner, batch: dict[str, np.ndarray], smoothing: float) -> float:
    """Leave the gradients of a batch in the weights; the mean loss of its tokens."""
    learner.zero_grad()
    tensors = to_device(batch, torch.device("cpu"))
    count = int((batch["labels"] != IGNORED).sum())
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = learner(tensors, {"target": 1 / count}, smoothing)
    loss.backward()
    return float(loss.detach())


def _save(file: Path, model: nn.Module, optims: list[Muon], step: int) -> None:
    partial = file.with_suffix(".partial")
    states = [optim.state_dict() for optim in optims]
    torch.save({"model": model.state_dict(), "optims": states, "step": step}, partial)
    partial.replace(file)


def _resume(file: Path, model: nn.Module, optims: list[Muon]) -> int:
    if not file.exists():
        return 0
    state = torch.load(file, weights_only=True)
    model.load_state_dict(state["model"])
    for optim, saved in zip(optims, state["optims"], strict=True):
        optim.load_state_dict(saved)
    log.info("going on from step %d", state["step"])
    return int(state["step"])
