"""What a stage works with: the recipe, the folder of work, and what is noted of it."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from learn import GO_ON, load_weights, machine
from passages import OFFSET, Passages
from scales import Recipe, section
from sentencepiece import SentencePieceProcessor
from torch import nn

from pegasus import PegasusConfig
from pegasus.errors import BadData
from pegasus.training.checkpoints import sha256
from pegasus.training.journal import Journal

log = logging.getLogger(__name__)

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Job:
    """The recipe, the folders it works in, and how.

    Attributes:
        recipe: every setting.
        work: where stages leave their results.
        out: the exported model.
        fresh: fine-tune without the pre-training.
        without: an exported model of ``fresh``, to be measured beside.
        split: what is measured: "validation" or "test".
        limit: texts of each set that are measured.
        device: where models are.
        again: whether stages whose results are there are done again.
        deadline: when to stop, in seconds of ``time.monotonic``.
    """

    recipe: Recipe
    work: Path
    out: Path
    fresh: bool = False
    without: Path | None = None
    split: str | None = None
    limit: int | None = None
    device: str = "cpu"
    again: bool = True
    deadline: float = float("inf")

    @property
    def data(self) -> Path:
        """The data pack: beside the repository, or what came along with the work folder."""
        brought = self.work / "data"
        return brought if brought.is_dir() else (REPOSITORY / self.recipe["data"]).resolve()

    @property
    def seed(self) -> int:
        """What everything drawn begins with."""
        return int(self.recipe["seed"])

    @property
    def pieces(self) -> SentencePieceProcessor:
        """The vocabulary that the first stage learned."""
        (file,) = self.need("spiece.model", "vocabulary")
        return SentencePieceProcessor(model_file=str(file))

    def late(self) -> bool:
        """Whether to stop."""
        return time.monotonic() > self.deadline

    def stop_if_late(self, place: str) -> None:
        """End with ``GO_ON`` when the time is over; what is done by then is kept."""
        if self.late():
            log.info("stopped before %s: start again to go on", place)
            raise SystemExit(GO_ON)

    def config(self, dropout: float, teacher: bool = False) -> PegasusConfig:
        """The configuration of the model or of its teacher."""
        size = self.recipe["vocabulary"]["pieces"] + OFFSET
        shape = (section(self.recipe, "teacher") if teacher else self.recipe)["model"]
        return PegasusConfig(vocab_size=size, dropout=dropout, attention_dropout=0.0, **shape)

    def passages(self) -> Passages:
        """What the second stage made of the pre-training text."""
        return Passages.load(self.need("passages/*.npz", "prepare"))

    def need(self, pattern: str, stage: str) -> list[Path]:
        """The files that an earlier stage left.

        Raises:
            BadData: there is none.
        """
        files = sorted(self.work.glob(pattern))
        if not files:
            raise BadData(f"{self.work} holds no {pattern}: run the stage {stage!r} first, or 'all'")
        return files

    def take(self, model: nn.Module, run: str) -> None:
        """Put the weights that a run of training left into a model."""
        stage = re.sub(r"-\d+$", "", run).replace("-fresh", " --fresh")
        (file,) = self.need(f"{run}/state.pt", stage)
        load_weights(model, torch.load(file, map_location="cpu", weights_only=True)["model"])

    def begun(self, run: str) -> bool:
        """Whether a run of training has left a state."""
        return (self.work / run / "state.pt").exists()

    def facts(self, seed: int, *folders: str) -> dict[str, Any]:
        """What a journal says of a run: its seed, and the first half of each data file's SHA-256."""
        return {"seed": seed, "data": self.hashes(*(f"{folder}/*.npz" for folder in folders))}

    def hashes(self, *patterns: str) -> dict[str, str]:
        """The first half of the SHA-256 of each of these files in the work folder."""
        files = [file for pattern in patterns for file in sorted(self.work.glob(pattern))]
        return {str(f.relative_to(self.work).with_suffix("")): sha256(f)[:32] for f in files}

    def note(self, stage: str, numbers: Mapping[str, Any]) -> None:
        """Add a line to the journal of stages."""
        facts = {"seed": self.seed, **machine(torch.device(self.device)), **numbers}
        Journal(self.work / "stages.jsonl").write(stage, 0, facts)

    @contextlib.contextmanager
    def put(self, file: Path) -> Iterator[Path]:
        """A name to write to; when all is written it becomes ``file``: no half one has that name."""
        partial = self.work / f"partial{file.suffix}"
        yield partial
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(file)
