"""A model, seen from the summarizer: rows of tokens in, rows of tokens out."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pegasus.backends.contract import InferenceModel
from pegasus.checkpoint.finite import check_weights
from pegasus.errors import CheckpointCorrupt, NotOffered, PegasusError
from pegasus.generation.processors.faithful import Faithful
from pegasus.generation.processors.wording import Wording
from pegasus.generation.streaming import BaseStreamer
from pegasus.summarizer.lengths import Budget
from pegasus.summarizer.limits import check_lengths, most_texts
from pegasus.summarizer.records import Finish
from pegasus.summarizer.settings import COMMON_WORDS, FaithfulMode


@dataclass(frozen=True)
class Job:
    """One input to be summarized.

    Attributes:
        tokens: the input, the end token included.
        budget: limits of its summary; None leaves them to the checkpoint.
        no_repeat_ngram_size: overrules the setting; None leaves it.
        broken_off: whether the input was cut off, perhaps within a word.
    """

    tokens: tuple[int, ...]
    budget: Budget | None = None
    no_repeat_ngram_size: int | None = None
    broken_off: bool = False


@dataclass(frozen=True)
class Draft:
    """What came out for one job.

    Attributes:
        tokens: the summary, without the start token and without padding; the end token where there is one.
        score: the search's own.
        finish_reason: "length" where the summary fills its limit (its end was forced then), else "eos".
        seconds: this job's share of its batch's time.
        prevented: how often faithful decoding refused what would have been written.
    """

    tokens: tuple[int, ...]
    score: float
    finish_reason: Finish
    seconds: float = 0.0
    prevented: int = 0


#: Is told a token when it is certain.
Tell = Callable[[int], None]


class Writing(Protocol):
    """A batch under way."""

    def step(self) -> bool:
        """Compute one step; whether there was one to compute."""
        ...

    def drop(self, jobs: Sequence[int]) -> None:
        """Go on without some jobs of the batch, where the search can: nobody waits for their drafts.

        Args:
            jobs: their numbers in the batch.
        """
        ...

    def drafts(self) -> list[Draft]:
        """Compute the steps that are left, and return one draft a job."""
        ...


class Writer(Protocol):
    """What a summarizer needs of a model."""

    @property
    def limit(self) -> int:
        """How many input tokens the model was made for, the end token included."""
        ...

    @property
    def usual(self) -> Budget:
        """The limits of a summary that the checkpoint states, in new tokens."""
        ...

    @property
    def beams(self) -> int:
        """The beams that the checkpoint searches with, where nobody names another number."""
        ...

    def fit(self, source: int, budget: Budget | None, settings: Mapping[str, Any]) -> int:
        """Return how many jobs of so many tokens can be computed together.

        Raises:
            BadSetting: not even one can, or a setting is beyond the model.
        """
        ...

    def write(self, batch: Sequence[Job], settings: Mapping[str, Any]) -> list[Draft]:
        """Summarize a batch of jobs that have the same budget and n-gram size."""
        ...

    def begin(self, batch: Sequence[Job], settings: Mapping[str, Any], tell: Tell | None = None) -> Writing:
        """Begin what `write` does, to be stepped.

        Args:
            batch: as for `write`.
            settings: as for `write`.
            tell: is told each token of the one job of a batch that is written without beams.
        """
        ...

    def attend(self, source: Sequence[int], summary: Sequence[int]) -> np.ndarray:
        """Return where the decoder looked, [summary tokens, source tokens], mean of layers and heads."""
        ...

    def wording(self, job: Job, faithful: FaithfulMode | None) -> Wording | None:
        """Return what the summary of a job may say; None where it is written freely.

        Args:
            job: the job.
            faithful: what its summary is held to; None: what the writer does where nobody says.
        """
        ...

    def why_no_numbers(self) -> str:
        """Return why scores may have been no numbers, and what to do."""
        ...


@dataclass(frozen=True)
class ModelWriter:
    """A conditional-generation model of some backend.

    Attributes:
        model: what a backend opened.
        folder: where its weights came from, if from files.
        unsaid: ids that no token has, which are never written.
        faithful: what `generate` takes for a mode of faithful decoding; None: that is not offered.
    """

    model: InferenceModel
    folder: Path | None = None
    unsaid: tuple[int, ...] = ()
    faithful: Callable[[FaithfulMode], Any] | None = None

    @property
    def limit(self) -> int:
        """The positions of the checkpoint."""
        return int(self.model.config.max_position_embeddings)

    @property
    def usual(self) -> Budget:
        """From the checkpoint's generation config, whose lengths count the start token."""
        config = self.model.generation_config
        most = config.max_new_tokens or config.max_length - 1
        return Budget(config.min_new_tokens or max(0, config.min_length - 1), most)

    @property
    def beams(self) -> int:
        """From the checkpoint's generation config."""
        return int(self.model.generation_config.num_beams)

    @property
    def usual_faithful(self) -> FaithfulMode:
        """What summaries are held to where nobody says: words, if a list lies beside the checkpoint."""
        listed = self.folder is not None and (self.folder / COMMON_WORDS).is_file()
        return "words" if listed and self.faithful is not None else "off"

    def fit(self, source: int, budget: Budget | None, settings: Mapping[str, Any]) -> int:
        """Return how many jobs of so many tokens can be computed together.

        Raises:
            BadSetting: not even one can, or a setting is beyond the model.
        """
        check_lengths(settings, self.limit)
        beams = settings.get("num_beams", self.model.generation_config.num_beams)
        stated = settings.get("max_new_tokens") or settings.get("max_length") or self.usual.most
        summary = stated if budget is None else budget.most
        # An accelerator's memory is its own.
        free = None if str(self.model.device) == "cpu" else sys.maxsize
        return most_texts(self.model.config, source, min(summary, self.limit), beams, free)

    def write(self, batch: Sequence[Job], settings: Mapping[str, Any]) -> list[Draft]:
        """Summarize a batch of jobs that have the same budget and n-gram size."""
        options = self._options(batch, settings)
        return self._drafts(self.model.generate(**options), options)

    def begin(self, batch: Sequence[Job], settings: Mapping[str, Any], tell: Tell | None = None) -> Writing:
        """Begin what `write` does, to be stepped; see `Writer`.

        Raises:
            NotOffered: the settings choose a search that goes text by text.
        """
        options = self._options(batch, settings)
        streamer = None if tell is None else _TokenStreamer(tell, self.model.to_host)
        generation = self.model.start_generate(**options, streamer=streamer)
        return _ModelWriting(generation, lambda found: self._drafts(found, options))

    def _options(self, batch: Sequence[Job], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return what `generate` is told."""
        options = {**settings, **self._limits(batch[0], settings)}
        mode = options.pop("faithful", None) or self.usual_faithful
        if mode != "off":
            assert self.faithful is not None
            options["faithful"] = self.faithful(mode).about([job.broken_off for job in batch])
        if self.unsaid:
            said = options.get("suppress_tokens", self.model.generation_config.suppress_tokens)
            options["suppress_tokens"] = [*(said or ()), *self.unsaid]
        tokens_BS, mask_BS = _padded([job.tokens for job in batch], self.model.config.pad_token_id)
        return {"inputs": tokens_BS, "attention_mask": mask_BS, "return_dict_in_generate": True, **options}

    def _drafts(self, found: Any, options: Mapping[str, Any]) -> list[Draft]:
        most = options.get("max_new_tokens") or options.get("max_length", self.usual.most + 1) - 1
        rows = self.model.to_host(found.sequences)
        scores = self.model.to_host(found.sequences_scores)
        drafts = [self._draft(row, float(score), most) for row, score in zip(rows, scores, strict=True)]
        if found.prevented is not None:
            prevented = self.model.to_host(found.prevented).tolist()
            drafts = [replace(draft, prevented=times) for draft, times in zip(drafts, prevented)]
        if options.get("num_beams", self.model.generation_config.num_beams) > 1:
            return drafts
        # Without beams the score is a sum; with them it is divided by a power of the length.
        return [replace(draft, score=draft.score / max(len(draft.tokens), 1)) for draft in drafts]

    def attend(self, source: Sequence[int], summary: Sequence[int]) -> np.ndarray:
        """Return where the decoder looked, [summary tokens, source tokens], mean of layers and heads."""
        return self.model.attend(source, summary)

    def wording(self, job: Job, faithful: FaithfulMode | None) -> Wording | None:
        """Return what the summary of a job may say; None where it is written freely."""
        mode = faithful or self.usual_faithful
        if mode == "off" or self.faithful is None:
            return None
        held: Faithful = self.faithful(mode)
        return held.wording(np.array(job.tokens), job.broken_off)

    def _limits(self, job: Job, settings: Mapping[str, Any]) -> dict[str, int]:
        limits = {}
        if job.budget is not None:
            limits = {
                "max_new_tokens": job.budget.most,
                "min_new_tokens": min(job.budget.least, job.budget.most - 1),
                "min_length": 0,
            }
        elif self.usual.most > self.limit and not {"max_length", "max_new_tokens"} & set(settings):
            limits = {"max_new_tokens": self.limit}  # a checkpoint that states more than it has positions
        if job.no_repeat_ngram_size is not None:
            limits["no_repeat_ngram_size"] = job.no_repeat_ngram_size
        return limits

    def why_no_numbers(self) -> str:
        """Return what is wrong with the weights, all of which are looked at, or with their type."""
        try:
            if self.folder is not None:
                check_weights(self.folder)
        except CheckpointCorrupt as problem:
            return str(problem)
        except PegasusError:
            pass  # a packed folder, whose bytes were compared when it was opened
        return (
            f"the weights overflow in {self.model.dtype}. Set dtype to float32, or take another checkpoint."
        )

    def _draft(self, row: np.ndarray, score: float, most: int) -> Draft:
        tokens = [int(token) for token in row[1:]]
        eos, pad = self.model.config.eos_token_id, self.model.config.pad_token_id
        if eos in tokens:
            tokens = tokens[: tokens.index(eos) + 1]
        while tokens and tokens[-1] == pad:
            tokens.pop()
        return Draft(tuple(tokens), score, "length" if len(tokens) >= most else "eos")


@dataclass(frozen=True)
class _ModelWriting:
    """A call of `generate` under way."""

    generation: Any
    finish: Callable[[Any], list[Draft]]

    def step(self) -> bool:
        return bool(self.generation.step())

    def drop(self, jobs: Sequence[int]) -> None:
        # Some searches keep all their texts; what they then write of these is thrown away.
        with contextlib.suppress(NotOffered):
            self.generation.drop(jobs)

    def drafts(self) -> list[Draft]:
        return self.finish(self.generation.result())


class _TokenStreamer(BaseStreamer):
    """Passes tokens on, without the prompt that comes first."""

    def __init__(self, tell: Tell, to_host: Callable[[Any], np.ndarray]) -> None:
        self._tell, self._to_host, self._at_prompt = tell, to_host, True

    def put(self, value: Any) -> None:
        prompt, self._at_prompt = self._at_prompt, False
        for token in () if prompt else self._to_host(value).reshape(-1).tolist():
            self._tell(token)

    def end(self) -> None:
        """What comes after the last token is in the draft."""


def _padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([len(row) for row in rows])
    mask_BS = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
    tokens_BS = np.full(mask_BS.shape, pad, dtype=np.int64)
    tokens_BS[mask_BS.astype(bool)] = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows])
    return tokens_BS, mask_BS
