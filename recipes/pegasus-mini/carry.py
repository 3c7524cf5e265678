"""What another machine needs of a work folder, and what comes back from it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable
from pathlib import Path

import torch
from job import Job
from scales import Recipe
from travel import bundle, read_half, unbundle, write_half

from pegasus.errors import BadData

log = logging.getLogger(__name__)

_WEIGHTS = "weights.safetensors"
_REST = "rest"


def pack(job: Job, out: Path) -> None:
    """Bundle what training reads: vocabulary, passages, pairs, and the sources that it is measured on."""
    settings = job.recipe["evaluate"]
    measured = [
        job.data / name / f"{settings.get('split', 'validation')}.jsonl.xz" for name in settings["sets"]
    ]
    files = {f"data/{file.parent.name}/{file.name}": file for file in measured if file.exists()}
    prepared = [job.work / "spiece.model", *_under(job.work, "passages/*.npz", "pairs/*.npz")]
    bundle({**files, **_named(job.work, prepared)}, out, compress=True)
    _tell(out)


def unpack(job: Job, source: Path) -> None:
    """Put together what ``pack`` wrote."""
    for name in unbundle(source, job.work):
        log.info("%s", name)


def split(job: Job, out: Path) -> None:
    """Bundle what was learned: the furthest weights of both models, journals, targets, the exported model.

    Optimizers stay behind: they are twice as large as the weights in single precision.
    """
    for runs in _chains(job.recipe):
        run = max((run for run in runs if job.begun(run)), key=runs.index, default=None)
        if run is None:
            continue
        weights = job.work / f"{run}.safetensors"
        write_half(torch.load(job.work / run / "state.pt", map_location="cpu", weights_only=True), weights)
        bundle({f"{run}/{_WEIGHTS}": weights}, out / run, compress=False)
        weights.unlink()
        _tell(out / run)
    patterns = ("*/journal.jsonl", "stages.jsonl", "pseudo/*.npz", f"{job.out.name}/*", "results.json")
    bundle(_named(job.work, _under(job.work, *patterns)), out / _REST, compress=True)
    _tell(out / _REST)


def join(job: Job, source: Path) -> None:
    """Put together what ``split`` wrote; what is here and at least as far is left alone."""
    came = job.work / "came"
    folders = sorted(path.parents[1] for path in source.glob("*/part-0/manifest.json"))
    if not folders:
        raise BadData(f"{source} holds nothing that split wrote: give the folder that its --out named")
    for folder in folders:
        unbundle(folder, came)
    for file in [path for path in sorted(came.rglob("*")) if path.is_file()]:
        target = job.work / file.relative_to(came)
        if file.name == _WEIGHTS and file.parent.parent == came:
            _take_state(file, target.with_name("state.pt"))
        elif not target.exists() or (file.parent / _WEIGHTS).exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    shutil.rmtree(came)


def _take_state(weights: Path, target: Path) -> None:
    state = read_half(weights)
    if target.exists():
        here = torch.load(target, map_location="cpu", weights_only=True)["step"]
        if here >= state["step"]:
            log.info("%s is here at update %d, not before %d", target.parent.name, here, state["step"])
            return
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, target)
    log.info("%s: update %d", target.parent.name, state["step"])


def _chains(recipe: Recipe) -> list[list[str]]:
    """The runs of each model in their order."""
    parts = range(len(recipe["pretrain"]))
    own = [f"pretrain-{number}" for number in parts]
    return [[*(f"teacher-{run}" for run in own), "teacher-finetune"], [*own, "finetune", "distill"]]


def _under(folder: Path, *patterns: str) -> list[Path]:
    return [file for pattern in patterns for file in sorted(folder.glob(pattern)) if file.is_file()]


def _named(folder: Path, files: Iterable[Path]) -> dict[str, Path]:
    return {str(file.relative_to(folder)): file for file in files}


def _tell(folder: Path) -> None:
    for part in sorted(folder.glob("part-*")):
        sizes = [file.stat().st_size for file in part.iterdir()]
        log.info("%s: %d files, %.1f MB", part, len(sizes), sum(sizes) / 1e6)
