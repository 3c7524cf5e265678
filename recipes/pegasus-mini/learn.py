"""The training loop: batches of ids in, a better model out, a checkpoint every few minutes."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pegasus import PegasusConfig, PegasusForConditionalGeneration

log = logging.getLogger(__name__)

Batches = Iterator[tuple[np.ndarray, np.ndarray]]


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


def loss_of(
    model: PegasusForConditionalGeneration, source: Tensor, target: Tensor, smoothing: float
) -> Tensor:
    """Mean cross-entropy of the target's tokens, padding not counted.

    Attentions are asked for only because that chooses exact attention, which trains 1.4 times as fast
    here as the fused kernel: its backward pass is slow on CPUs.
    """
    mask = None if bool((source != 0).all()) else (source != 0).long()
    start = functional.pad(target, (1, -1))
    states = model.model(source, mask, decoder_input_ids=start, use_cache=False, output_attentions=True)[0]
    logits = functional.linear(states, model.get_input_embeddings().weight).float()
    return functional.cross_entropy(
        logits.flatten(0, 1), target.flatten(), ignore_index=0, label_smoothing=smoothing
    )


def optimizers(model: nn.Module, settings: Mapping[str, Any]) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the embedding, biases and norms."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    inner = [p for name, p in trained if p.dim() == 2 and "shared" not in name]
    outer = [p for name, p in trained if p.dim() != 2 or "shared" in name]
    return [
        torch.optim.Muon(inner, lr=settings["matrix_rate"], weight_decay=0.01),
        torch.optim.AdamW(outer, lr=settings["vector_rate"], betas=(0.9, 0.98), weight_decay=0.0),
    ]


def pace(step: int, steps: int, warmup: int, decay: float) -> float:
    """The share of the rate at a step: a ramp, level, then a straight line to a fiftieth."""
    left = (steps - step) / max(1.0, decay * steps)
    return min(1.0, (step + 1) / warmup, max(0.02, left))


def train(
    model: PegasusForConditionalGeneration, feed: Any, settings: Mapping[str, Any], folder: Path
) -> PegasusForConditionalGeneration:
    """Run ``settings["steps"]`` updates, going on from the last checkpoint in ``folder`` if there is one.

    Args:
        model: where to start.
        feed: a function from the number of batches to pass over to the batches that follow.
        settings: a section of recipe.toml.
        folder: where state.pt (everything needed to go on) and the journal are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optims = optimizers(model, settings)
    rates = [[group["lr"] for group in optim.param_groups] for optim in optims]
    step = _resume(folder / "state.pt", model, optims)
    source: Batches = feed(step)
    model.train()
    began, saved, seen, losses = time.time(), time.time(), 0, []
    while step < settings["steps"]:
        share = pace(step, settings["steps"], settings["warmup_steps"], settings["decay"])
        for optim, base in zip(optims, rates, strict=True):
            for group, rate in zip(optim.param_groups, base, strict=True):
                group["lr"] = rate * share
        batch = [torch.from_numpy(array) for array in next(source)]
        losses.append(_update(model, optims, batch, settings["label_smoothing"]))
        seen += sum(int((part != 0).sum()) for part in batch)
        step += 1
        if step % 25 == 0 or step == settings["steps"]:
            spent = time.time() - began
            log.info(
                "step %d loss %.3f rate %.2f tokens/s %.0f", step, np.mean(losses), share, seen / spent
            )
            losses = []
        if time.time() - saved > 150 or step == settings["steps"]:
            _save(folder / "state.pt", model, optims, step)
            saved = time.time()
    model.eval()
    return model


def _update(
    model: Any, optims: list[torch.optim.Optimizer], batch: list[Tensor], smoothing: float
) -> float:
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(model, batch[0], batch[1], smoothing)
    loss.backward()
    norm = float(nn.utils.clip_grad_norm_(model.parameters(), 1.0))
    if math.isfinite(norm):
        for optim in optims:
            optim.step()
    for optim in optims:
        optim.zero_grad()
    _silence_pad(model)
    return float(loss.detach())


def _save(file: Path, model: nn.Module, optims: list[torch.optim.Optimizer], step: int) -> None:
    state = {"model": model.state_dict(), "optims": [o.state_dict() for o in optims], "step": step}
    partial = file.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(file)


def _resume(file: Path, model: nn.Module, optims: list[torch.optim.Optimizer]) -> int:
    if not file.exists():
        return 0
    state = torch.load(file, weights_only=True)
    model.load_state_dict(state["model"])
    for optim, saved in zip(optims, state["optims"], strict=True):
        optim.load_state_dict(saved)
    log.info("going on from step %d", state["step"])
    return int(state["step"])
