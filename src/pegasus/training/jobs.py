"""Job files: one typed TOML file a run; every key is known, checked, and copied beside the results."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator

from pegasus.backends.contract.learning import Objective, OptimSettings, Placement
from pegasus.data.pretraining import PretrainingSettings
from pegasus.errors import BadSetting
from pegasus.evaluation.rouge import KINDS
from pegasus.spec.kinds import shown
from pegasus.training.sections import (
    EvaluationSection,
    ModelSection,
    PairsSection,
    PseudoSection,
    RunSection,
    Section,
    ShardsSection,
    StudentSection,
    TeacherSection,
)


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
    has_teacher: ClassVar[bool] = False

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if problems := [*self._folder(), *self._ramp(), *self._best(), *self._teacher()]:
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

    def _teacher(self) -> Iterator[str]:
        if self.objective.distillation is not None and not self.has_teacher:
            yield "objective.distillation compares with a teacher, which only a job of pegasus distill has"


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


class DistillJob(FinetuneJob):
    """A job of ``pegasus distill``: a fine-tuning whose model begins as a part of its teacher.

    Attributes:
        teacher: whom it learns from.
        student: what it has of its teacher; ``model.start`` names another beginning in its place.
        pseudo: targets that the teacher writes; None: people's alone.
    """

    teacher: TeacherSection
    student: StudentSection = Field(default_factory=StudentSection)
    pseudo: PseudoSection | None = None

    has_teacher: ClassVar[bool] = True

    @model_validator(mode="after")
    def _has_one_beginning(self) -> Self:
        if self.model.kind != "conditional":
            raise BadSetting("model.kind is 'causal', and a student is an encoder with a decoder")
        if self.model.start is not None and self.student != StudentSection():
            raise BadSetting(
                "model.start and student both say what the student begins as: leave one of them out"
            )
        if self.pseudo is not None and self.data.mix and not self.pseudo.documents:
            raise BadSetting("beside data.mix, pseudo.documents must say what the teacher writes of")
        return self


AnyJob = TypeVar("AnyJob", bound=Job)


def raw_job(file: Path, changes: Sequence[str] = ()) -> dict[str, Any]:
    """The tables of a job file, changed, not yet checked.

    What a file does not say is as in the file that it names as its ``base``, beside which it is looked for.

    Raises:
        BadSetting: a file cannot be read, or is its own base.
    """
    values = _with_bases(file, ())
    for change in changes:
        _apply(values, change)
    return values


def _with_bases(file: Path, after: tuple[Path, ...]) -> dict[str, Any]:
    values = _read(file)
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str) or file.resolve() in after:
        raise BadSetting(f"{file} has the base {shown(base)}: it must be the name of another file")
    return merge(_with_bases(file.parent / base, (*after, file.resolve())), values)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise BadSetting(
            f"the job file {file} cannot be read ({problem.strerror}): check the path"
        ) from None
    except (ValueError, RecursionError) as problem:
        raise BadSetting(f"{file} is no TOML ({problem}): put the line right") from None


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
        if key.isdecimal():  # an entry of a list, whose fields are those of the list
            continue
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
