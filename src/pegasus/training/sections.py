"""The tables of job files: one typed class each, every key with its bounds."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pegasus.checkpoint.shrink import StudentShape
from pegasus.data.mixture import LengthTokens
from pegasus.data.pretraining import PretrainingSettings
from pegasus.data.targets import TargetSettings
from pegasus.errors import BadSetting

LONGEST, MOST_ROWS, MOST_UPDATES = 10**6, 2**16, 10**9


class Section(BaseModel):
    """A table of a job file: unknown keys are errors, values are converted to their types."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelSection(Section):
    """``[model]``: what is trained.

    Attributes:
        start: a folder, a bundled model or a hub name whose weights are the beginning; None: fresh weights.
        tokenizer: the same for the tokenizer; None: where the model comes from.
        revision: of both on the hub.
        kind: "conditional" (encoder and decoder) or "causal" (the decoder alone).
        size: "large" or "base": the shape of a fresh model, which ``config`` may change.
        initial: how fresh weights are drawn: as the authors did, or as transformers does.
        config: fields of the configuration that differ from those of ``start``, or make up a fresh model.
    """

    start: str | None = None
    tokenizer: str | None = None
    revision: str | None = None
    kind: Literal["conditional", "causal"] = "conditional"
    size: Literal["large", "base"] = "large"
    initial: Literal["authors", "transformers"] = "authors"
    config: dict[str, Any] = Field(default_factory=dict)


class MixSection(Section):
    """``[[data.mix]]``: one of several kinds of examples, and how often it comes.

    Attributes:
        share: how often it is taken beside the others; the shares need not add up to 1.
        train: files of pairs, or of documents where ``targets.kind`` is "opening", as in ``[data]``.
        shards: what ``pegasus prepare`` made, in place of ``train``.
        ids: a regular expression that the ids of rows must match; None: all rows.
        source: the column of the source; None: that of ``[data]``.
        target: the column of the target; None: that of ``[data]``.
        targets: what becomes the target of a pair; None: as ``[data]`` says.
        example: how a document of the shards becomes an example.
        limit: the first so many pairs or documents are used.
    """

    share: float = Field(gt=0, le=1e6)
    train: list[str] = Field(default_factory=list)
    shards: str | None = None
    ids: str | None = None
    source: str | None = None
    target: str | None = None
    targets: TargetSettings | None = None
    example: PretrainingSettings = Field(default_factory=PretrainingSettings)
    limit: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if bool(self.train) == (self.shards is not None):
            raise BadSetting("an entry of data.mix has either train or shards: give one of the two")
        try:
            re.compile(self.ids or "")
        except re.error as problem:
            raise BadSetting(f"ids is {self.ids!r}, no regular expression ({problem})") from None
        return self


class PairsSection(Section):
    """``[data]`` of a fine-tuning: sources and targets, in columns that are found by themselves if need be.

    Attributes:
        train: files, folders, or data sets of the hub (``hub:NAME:CONFIG@SPLIT``).
        mix: several kinds of examples in place of ``train``.
        validation: the same; empty: nothing is measured.
        keep_eos: a text that is cut keeps its end-of-sequence, as in transformers; the authors lose it.
        source: the column of the source; None: found by its usual names.
        target: the column of the target.
        encoding: what text is in, such as "windows-1252"; None: UTF-8, or UTF-16 and UTF-32 where it is.
        format: what every file holds, such as "csv"; None: its content and its name tell.
        max_source: sources are cut to so many tokens.
        max_target: targets too.
        limit: the first so many rows of the training data are used.
        validation_limit: and of the validation data.
        targets: what becomes the target of a pair in training; None: its own.
        held_out: files of pairs that are measured on: no "opening" is learned about one of their subjects.
        lengths: a token before the source that says how long its target is; None: none.
    """

    train: list[str] = Field(default_factory=list)
    mix: list[MixSection] = Field(default_factory=list)
    validation: list[str] = Field(default_factory=list)
    keep_eos: bool = True
    source: str | None = None
    target: str | None = None
    encoding: str | None = None
    format: str | None = None
    max_source: int = Field(default=1024, ge=2, le=LONGEST)
    max_target: int = Field(default=256, ge=2, le=LONGEST)
    limit: int | None = Field(default=None, ge=1)
    validation_limit: int | None = Field(default=None, ge=1)
    targets: TargetSettings | None = None
    held_out: list[str] = Field(default_factory=list)
    lengths: LengthTokens | None = None

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if bool(self.train) == bool(self.mix):
            raise BadSetting("data.train or data.mix says what is learned from: give one of the two")
        return self


class ShardsSection(Section):
    """``[data]`` of a pre-training: what ``pegasus prepare`` made.

    Attributes:
        shards: the folder.
        validation: a folder of held-out shards, or None.
        validation_limit: how many of its documents are measured.
    """

    shards: str
    validation: str | None = None
    validation_limit: int | None = Field(default=None, ge=1)


class RunSection(Section):
    """``[run]``: how long, and what happens how often, counted in updates; 0 is never.

    Attributes:
        steps: updates in all; with ``minutes`` it may be left out.
        minutes: after so many the run ends too, those of its earlier calls counted; a schedule that falls
            then falls by the clock. None: there is no deadline.
        batch: rows of a micro-batch of one process.
        batch_tokens: tokens of a micro-batch, sources and targets together, in place of a number of rows:
            about so many, in rows of like length; None: ``batch`` says how large it is.
        round_lengths: lengths of a batch are rounded up to a multiple of this. CPUs compile a matrix
            product for every new shape, so 16 saves time there.
        workers: processes that make batches in advance; 0: each is made when it is asked for.
        accumulate: micro-batches in an update.
        seed: of the order of rows, of fresh weights, of dropout, of gaps.
        log_every: write loss and speed.
        measure_every: the loss on the validation data.
        evaluate_every: ROUGE of the texts the model writes for the validation data.
        save_every: write a checkpoint.
        keep: how many checkpoints are kept.
        best: "loss" or a score such as "rougeLsum", by which the best model is known.
        patience: measurements without a better model that end the run; 0: it never ends early.
        tensorboard: write curves.
        exit_when_stopped: the exit code after a signal; schedulers that queue a job again often want 75.
    """

    steps: int = Field(ge=1, le=MOST_UPDATES)
    minutes: float | None = Field(default=None, gt=0, le=10**7)
    batch: int = Field(default=8, ge=1, le=MOST_ROWS)
    batch_tokens: int | None = Field(default=None, ge=1, le=10**9)
    round_lengths: int = Field(default=1, ge=1, le=4096)
    workers: int = Field(default=0, ge=0)
    accumulate: int = Field(default=1, ge=1, le=MOST_ROWS)
    seed: int = Field(default=0, ge=0, lt=2**32)
    log_every: int = Field(default=50, ge=0)
    measure_every: int = Field(default=500, ge=0)
    evaluate_every: int = Field(default=0, ge=0)
    save_every: int = Field(default=500, ge=0)
    keep: int = Field(default=2, ge=1)
    best: str = "loss"
    patience: int = Field(default=0, ge=0)
    tensorboard: bool = False
    exit_when_stopped: int = Field(default=0, ge=0, le=255)

    @model_validator(mode="before")
    @classmethod
    def _by_the_clock(cls, values: Any) -> Any:
        """With a deadline as many updates as there is time for."""
        if isinstance(values, dict) and values.get("minutes") is not None and "steps" not in values:
            return {**values, "steps": MOST_UPDATES}
        return values


class EvaluationSection(Section):
    """``[evaluation]``: how texts are written when the run evaluates itself, and by the model it makes.

    Attributes:
        rows: of the validation data.
        num_beams: of the search.
        length_penalty: of the search.
        batch: texts at a time.
        words: what ROUGE takes for words: "ascii" as published scores, "unicode" for other alphabets.
    """

    rows: int = Field(default=200, ge=1)
    num_beams: int = Field(default=1, ge=1, le=256)
    length_penalty: float = Field(default=0.8, ge=-100, le=100)
    batch: int = Field(default=16, ge=1, le=MOST_ROWS)
    words: Literal["ascii", "unicode"] = "ascii"


class TeacherSection(Section):
    """``[teacher]`` of a distillation.

    Attributes:
        model: a folder, a bundled model or a hub name.
        revision: on the hub.
    """

    model: str
    revision: str | None = None


class StudentSection(Section):
    """``[student]`` of a distillation: what it has of its teacher; what is not said is all of it.

    Attributes:
        preset: one of ``pegasus.training.presets.STUDENTS``, such as "16-4"; None: none.
        encoder_layers: see ``pegasus.checkpoint.shrink.StudentShape``, as all that follow.
        decoder_layers: how many.
        encoder_from: which of the teacher's layers, from 0.
        decoder_from: the same.
        width: features.
        encoder_ffn: inner units.
        decoder_ffn: the same.
    """

    preset: str | None = None
    encoder_layers: int | None = Field(default=None, ge=1, le=1000)
    decoder_layers: int | None = Field(default=None, ge=1, le=1000)
    encoder_from: tuple[int, ...] | None = None
    decoder_from: tuple[int, ...] | None = None
    width: int | None = Field(default=None, ge=1, le=LONGEST)
    encoder_ffn: int | None = Field(default=None, ge=1, le=LONGEST)
    decoder_ffn: int | None = Field(default=None, ge=1, le=LONGEST)

    @property
    def shape(self) -> StudentShape:
        """What is cut out of the teacher."""
        return StudentShape(**self.model_dump(exclude={"preset"}))


class PseudoSection(Section):
    """``[pseudo]`` of a distillation: targets that the teacher writes.

    Attributes:
        share: of the examples that have the teacher's target; 1 leaves people's targets out.
        documents: what it writes of, in files as in ``[data]``; empty: the sources of ``data.train``.
        limit: of the first so many of them.
        cache: the folder of what it wrote, which other jobs may share; None: ``pseudo`` in the output.
        part: documents in a file: a run that is stopped loses no more than the one it is at.
        num_beams: of its search.
        length_penalty: of its search; None: the teacher's own.
        max_length: tokens of what it writes at most; None: the teacher's own.
        batch: texts at a time.
        min_tokens: shorter targets are left out.
        max_tokens: longer ones too; None: no longer than ``data.max_target``.
        min_score: those too of which the search thinks less (see ``Summary.score``); None: none.
        coverage: only sentences that the source bears out are kept, as in ``data.targets``, with this share
            of their content words; None: whatever it says.
        repetitive: whether targets that go round in circles are kept.
        unfinished: whether targets that were cut at the greatest length are kept.
    """

    share: float = Field(default=1.0, gt=0, le=1)
    documents: list[str] = Field(default_factory=list)
    limit: int | None = Field(default=None, ge=1)
    cache: str | None = None
    part: int = Field(default=256, ge=1, le=10**6)
    num_beams: int = Field(default=4, ge=1, le=64)
    length_penalty: float | None = Field(default=None, ge=-100, le=100)
    max_length: int | None = Field(default=None, ge=2, le=LONGEST)
    batch: int = Field(default=16, ge=1, le=MOST_ROWS)
    min_tokens: int = Field(default=4, ge=0, le=LONGEST)
    max_tokens: int | None = Field(default=None, ge=1, le=LONGEST)
    min_score: float | None = None
    coverage: float | None = Field(default=None, ge=0, le=1)
    repetitive: bool = False
    unfinished: bool = False
