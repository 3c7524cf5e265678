"""Job files: one typed TOML file a run; every key is known, checked, and copied beside the results."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pegasus.backends.contract import Objective, OptimSettings, Placement
from pegasus.data.pretraining import PretrainingSettings
from pegasus.errors import BadSetting
from pegasus.evaluation.rouge import KINDS
from pegasus.spec.kinds import shown

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


class PairsSection(Section):
    """``[data]`` of a fine-tuning: sources and targets, in columns that are found by themselves if need be.

    Attributes:
        train: files, folders, or data sets of the hub (``hub:NAME:CONFIG@SPLIT``).
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
    """

    train: list[str] = Field(min_length=1)
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
        steps: updates in all.
        batch: rows of a micro-batch of one process.
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
    batch: int = Field(default=8, ge=1, le=MOST_ROWS)
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


class Job(Section):
    """What both kinds of job have.

    Attributes:
        output: the folder of everything the run makes.
        backend: what learns: one of ``pegasus.backends.backend_names()`` that can.
        run: how long and how often.
        model: what is trained.
        optim: how weights change.
        objective: what is learned.
        placement: where, and in which numbers.
    """

    output: str
    backend: str = "torch"
    run: RunSection
    model: ModelSection = Field(default_factory=ModelSection)
    optim: OptimSettings = Field(default_factory=OptimSettings)
    objective: Objective = Field(default_factory=Objective)
    placement: Placement = Field(default_factory=Placement)

    #: What the best model may be known by.
    scores: ClassVar[tuple[str, ...]] = ("loss",)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if problems := [*self._folder(), *self._ramp(), *self._best()]:
            raise BadSetting("; ".join(problems))
        return self

    def _folder(self) -> Iterator[str]:
        if not self.output.strip() or not self.output.isprintable():
            yield f"output is {shown(self.output)}; it must be the name of a folder"

    def _ramp(self) -> Iterator[str]:
        """The authors' own schedule has a ramp longer than many of their fine-tunings; others end it."""
        ramp, steps = self.optim.warmup_steps, self.optim.steps or self.run.steps
        if ramp > steps and not self.optim.schedule.startswith("authors"):
            yield (
                f"optim.warmup_steps is {ramp:,} and the run has {steps:,} steps: the schedule "
                f"{self.optim.schedule!r} would never reach its rate, so set fewer"
            )

    def _best(self) -> Iterator[str]:
        if self.run.best not in self.scores:
            near = difflib.get_close_matches(self.run.best, self.scores, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"it can be {', '.join(self.scores)}"
            yield f"run.best is {shown(self.run.best)}, which is never measured: {hint}"
        elif self.run.best != "loss" and not self.run.evaluate_every:
            yield (
                f"run.best is {self.run.best!r} and run.evaluate_every 0, so it is never measured: "
                "set how often, or best to 'loss'"
            )


class FinetuneJob(Job):
    """A job of ``pegasus finetune``.

    Attributes:
        task: the name of one of the paper's data sets, whose lengths, rate and penalty are taken where the
            job does not say otherwise; None: none.
        data: the pairs.
        evaluation: how texts are written.
    """

    task: str | None = None
    data: PairsSection
    evaluation: EvaluationSection = Field(default_factory=EvaluationSection)

    scores: ClassVar[tuple[str, ...]] = ("loss", *KINDS)


class PretrainJob(Job):
    """A job of ``pegasus pretrain``.

    Attributes:
        data: the shards.
        preset: one of ``pegasus.data.pretraining.PRESETS`` that ``example`` changes; None: the defaults.
        example: how a document becomes an example: ``[example.gap]`` which sentences are taken out,
            ``[example.fates]`` what stands in their place, ``[example.words]`` which words are hidden.
    """

    data: ShardsSection
    preset: str | None = None
    example: PretrainingSettings = Field(default_factory=PretrainingSettings)


AnyJob = TypeVar("AnyJob", bound=Job)


def raw_job(file: Path, changes: Sequence[str] = ()) -> dict[str, Any]:
    """The tables of a job file, changed, not yet checked."""
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise BadSetting(
            f"the job file {file} cannot be read ({problem.strerror}): check the path"
        ) from None
    except (ValueError, RecursionError) as problem:
        raise BadSetting(f"{file} is no TOML ({problem}): put the line right") from None
    for change in changes:
        _apply(values, change)
    return values


def make_job(kind: type[AnyJob], values: Mapping[str, Any], where: str = "the job") -> AnyJob:
    """Check tables and make a job of them.

    Raises:
        BadSetting: lists everything that is wrong.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as problem:
        lines = [_explain(kind, dict(error)) for error in problem.errors()]
        raise BadSetting(f"{where} cannot be used: " + "; ".join(lines)) from None


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Tables joined key by key; ``over`` wins."""
    joined = dict(under)
    for key, value in over.items():
        old = joined.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        joined[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return joined


def _apply(values: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise BadSetting(f"--set {change!r} is not understood: write --set table.key=value")
    table = values
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise BadSetting(f"--set {change!r}: {key} is a value, not a table")
    table[keys[-1]] = _value(text.strip())


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except (ValueError, RecursionError):
        return text


def _explain(kind: type[BaseModel], error: dict[str, Any]) -> str:
    place = [str(part) for part in error["loc"]]
    name = ".".join(place)
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = _known(kind, place[:-1])
        near = difflib.get_close_matches(place[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        return f"unknown key {name}: {hint}"
    if error["type"] == "missing":
        return f"{name} is missing"
    if error["type"] == "value_error":  # our own words
        return f"{name}: {error['ctx']['error']}" if name else str(error["ctx"]["error"])
    return f"{name} is {shown(error.get('input'))}: {error['msg'][0].lower()}{error['msg'][1:]}"


def _known(kind: Any, path: Sequence[str]) -> list[str]:
    """The keys of the table at this path."""
    fields = _fields(kind)
    for key in path:
        annotation = fields.get(key)
        options = [annotation, *get_args(annotation)]
        fields = next((_fields(option) for option in options if _fields(option)), {})
    return sorted(fields)


def _fields(kind: Any) -> dict[str, Any]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        from typing import get_type_hints

        return get_type_hints(kind)
    return {}
