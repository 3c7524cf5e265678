"""The training loop: update, and at four moments log, measure, evaluate, save.

It knows no tensors and no framework: batches of NumPy arrays go into an engine, measures come out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pegasus.backends.contract import Batch, BatchStream
from pegasus.backends.contract.learning import Engine, Measures, Ranks
from pegasus.errors import BadSetting, PegasusError
from pegasus.training.checkpoints import Checkpoints
from pegasus.training.journal import Journal, progress_line

#: The validation batches of this process, from the first.
Validation = Callable[[], Iterable[Batch]]
#: Numbers that say how good the model is now, such as ROUGE; called by all processes together.
Evaluation = Callable[[], Mapping[str, float]]
#: Keeps the model as it is now; called by all processes together.
Keep = Callable[[], object]

Ending = Literal["done", "early", "stopped"]
#: So many updates in a row without a finite gradient end a run; of a short run, half of its updates.
MOST_SKIPPED = 50


@dataclass(frozen=True)
class Plan:
    """How long, and what happens how often, counted in updates; 0 is never.

    Attributes:
        steps: updates in all.
        seconds: after so many the run ends too, those of its earlier calls counted; None: there is no
            deadline.
        accumulate: micro-batches of each process in an update.
        log_every: write loss and speed.
        measure_every: the loss on the validation batches.
        evaluate_every: the numbers of ``Evaluation``.
        save_every: write a checkpoint.
        best: the number by which the best model is known: "loss" (the least) or one that the evaluation
            gives, such as "rougeLsum" (the greatest).
        patience: how many measurements without a better one end the run; 0: it never ends early.
    """

    steps: int
    seconds: float | None = None
    accumulate: int = 1
    log_every: int = 50
    measure_every: int = 0
    evaluate_every: int = 0
    save_every: int = 500
    best: str = "loss"
    patience: int = 0


@dataclass
class TrainState:
    """Where a run stands; written into every checkpoint.

    Attributes:
        step: updates done.
        best: the best number so far, turned so that less is better; None before the first.
        best_step: when it was found.
        worse: measurements since then.
        skipped: updates in a row whose gradient was not finite.
        seconds: spent learning, in all.
        elapsed: seconds of all calls together, measuring, evaluating and saving included.
        owes_moments: it was stopped before it could measure and evaluate at this step.
    """

    step: int = 0
    best: float | None = None
    best_step: int = 0
    worse: int = 0
    skipped: int = 0
    seconds: float = 0.0
    elapsed: float = 0.0
    owes_moments: bool = False


@dataclass
class Run:
    """Everything the loop works with.

    Attributes:
        engine: learns.
        stream: gives batches.
        ranks: the processes.
        plan: how long and how often.
        checkpoints: where the run is saved.
        journal: what it says, written by the first process.
        validation: batches to measure the loss on, or None.
        evaluation: see ``Evaluation``, or None.
        keep_best: is called when the model is better than ever, or None.
        asked_to_stop: whether a signal came.
        clock: seconds since some moment.
        started: what the clock would have said when the run began, had it never been interrupted.
        train_state: where it begins.
    """

    engine: Engine
    stream: BatchStream
    ranks: Ranks
    plan: Plan
    checkpoints: Checkpoints
    journal: Journal | None = None
    validation: Validation | None = None
    evaluation: Evaluation | None = None
    keep_best: Keep | None = None
    asked_to_stop: Callable[[], bool] = bool
    clock: Callable[[], float] = time.perf_counter
    started: float = 0.0
    train_state: TrainState = field(default_factory=TrainState)


def resume(run: Run) -> bool:
    """Go back to the newest whole checkpoint. Returns whether there was one."""
    found = run.checkpoints.latest()
    if found is None:
        return False
    run.engine.load(found.folder)
    run.stream.restore(found.state["feed"])
    run.train_state = TrainState(**found.state["standing"])
    return True


def learn(run: Run) -> Ending:
    """Update until the plan is fulfilled, the model gets no better, or somebody asks to stop.

    Raises:
        PegasusError: no gradient was finite for many updates in a row.
    """
    plan, train_state = run.plan, run.train_state
    recent: list[Measures] = []
    seconds_before = train_state.seconds
    run.started = run.clock() - train_state.elapsed
    if train_state.owes_moments:
        validate(run)
    while not is_over(run):
        update(run, recent)
        check_finite(run, recent[-1])
        _look_at_the_clock(run)

        if _due(run, plan.log_every):
            log(run, recent, train_state.seconds - seconds_before)
            recent, seconds_before = [], train_state.seconds

        if run.ranks.any(run.asked_to_stop()) and not _at_its_end(run):
            train_state.owes_moments = True
            save(run)
            return "stopped"

        validate(run)
        # A model that no longer learns does not take the place of one that did.
        due = _due(run, plan.save_every) and (not train_state.skipped or is_over(run))
        if due or gets_no_better(run):
            save(run)
    return "done" if _at_its_end(run) else "early"


def update(run: Run, recent: list[Measures]) -> None:
    """One update, whose measures are added to the recent ones."""
    plan, train_state = run.plan, run.train_state
    began = run.clock()
    batches = [next(run.stream) for _ in range(plan.accumulate)]
    if plan.seconds is None:
        recent.append(run.engine.step(batches))
    else:  # the rate falls with the share of the time that is gone
        recent.append(run.engine.step(batches, progress=min(1.0, train_state.elapsed / plan.seconds)))
    train_state.seconds += run.clock() - began
    train_state.step += 1


def _look_at_the_clock(run: Run) -> None:
    """Note how long the run has taken; where that decides something, the first process says it for all."""
    elapsed = run.clock() - run.started
    if run.plan.seconds is not None:
        elapsed = run.ranks.total([0.0 if run.ranks.rank else elapsed])[0]
    run.train_state.elapsed = elapsed


def validate(run: Run) -> None:
    """The second and third moment, when they are due, and whether the model is now better than ever."""
    plan, train_state = run.plan, run.train_state
    train_state.owes_moments = False
    numbers: dict[str, float] = {}
    if run.validation is not None and _due(run, plan.measure_every):
        numbers |= measure(run, run.validation)
    if run.evaluation is not None and _due(run, plan.evaluate_every):
        numbers |= evaluate(run, run.evaluation)
    if plan.best in numbers:
        judge(run, numbers[plan.best])


def gets_no_better(run: Run) -> bool:
    """Whether patience is at an end."""
    return 0 < run.plan.patience <= run.train_state.worse


def is_over(run: Run) -> bool:
    """Whether nothing is left to be done."""
    return _at_its_end(run) or gets_no_better(run)


def _at_its_end(run: Run) -> bool:
    """Whether all updates are done, or the time is over."""
    plan, train_state = run.plan, run.train_state
    return train_state.step >= plan.steps or (
        plan.seconds is not None and train_state.elapsed >= plan.seconds
    )


def log(run: Run, recent: list[Measures], seconds: float) -> None:
    """The first moment: what the updates since the last time found, and how fast they were."""
    joined, train_state = Measures.joined(recent), run.train_state
    parts = {f"loss_{part}": joined.mean(part) for part, count in joined.counts.items() if count}
    numbers = {
        "loss": joined.loss,
        **(parts if len(parts) > 1 else {}),
        "gradient_norm": joined.norm,
        "learning_rate": joined.rate,
        "tokens_per_second": joined.tokens / max(seconds, 1e-9),
        "memory": joined.memory,
        "skipped": sum(one.skipped for one in recent),
    }
    _write(run, "train", numbers)
    if run.journal is not None:
        steps = run.plan.steps if run.plan.seconds is None else None
        run.journal.report(progress_line(train_state.step, steps, numbers, _left(run)), True)


def _left(run: Run) -> float:
    """The seconds that the run will take still."""
    plan, train_state = run.plan, run.train_state
    left = (plan.steps - train_state.step) * train_state.seconds / train_state.step
    return left if plan.seconds is None else min(left, max(0.0, plan.seconds - train_state.elapsed))


def measure(run: Run, validation: Validation) -> dict[str, float]:
    """The second moment: the loss on the validation batches of all processes, each token counted once."""
    found: list[Measures] = []
    batches = iter(validation())
    batch = spare = next(batches, None)
    if run.ranks.any(batch is None):
        raise BadSetting(
            f"a process has no validation batch: give {run.ranks.count} processes as many rows at least"
        )
    # Processes that share weights must pass as many batches: one that has none left repeats its last.
    while run.ranks.any(batch is not None):
        assert spare is not None
        measured = run.engine.measure(spare)
        if batch is not None:
            found.append(measured)
            batch = next(batches, None)
            spare = batch or spare
    loss = _mean_over_ranks(run.ranks, found)
    numbers = {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}
    _write(run, "validation", numbers)
    _report(run, f"step {run.train_state.step:,}  validation loss {loss:.4f}")
    return numbers


def evaluate(run: Run, evaluation: Evaluation) -> dict[str, float]:
    """The third moment: how good the texts are that the model writes now."""
    numbers = dict(evaluation())
    _write(run, "evaluation", numbers)
    told = "  ".join(f"{name} {value:.2f}" for name, value in numbers.items())
    _report(run, f"step {run.train_state.step:,}  {told}")
    return numbers


def save(run: Run) -> None:
    """The fourth moment: a checkpoint that the run can go on from exactly."""
    standing = {**asdict(run.train_state), "elapsed": run.clock() - run.started}
    state = {"feed": run.stream.state(), "standing": standing}
    run.checkpoints.save(run.train_state.step, run.engine, state)


def judge(run: Run, number: float) -> None:
    """Remember whether the model is better than ever; if so, keep it; only a finite number is better."""
    train_state = run.train_state
    turned = number if run.plan.best == "loss" else -number
    if not math.isfinite(turned) or (train_state.best is not None and not turned < train_state.best):
        train_state.worse += 1
        return
    train_state.best, train_state.best_step, train_state.worse = turned, train_state.step, 0
    if run.keep_best is not None:
        run.keep_best()


def check_finite(run: Run, measures: Measures) -> None:
    """Count updates without effect, and give up when there are only such.

    Raises:
        PegasusError: no gradient was finite for ``MOST_SKIPPED`` updates in a row, or at the end of a
            shorter run for half of its updates, so that nothing came of it.
    """
    train_state, steps = run.train_state, run.plan.steps
    train_state.skipped = train_state.skipped + 1 if measures.skipped else 0
    at_the_end = train_state.step >= steps and 2 * train_state.skipped >= min(steps, MOST_SKIPPED)
    if train_state.skipped and (train_state.skipped >= MOST_SKIPPED or at_the_end):
        raise PegasusError(
            f"the gradient was not finite for {train_state.skipped} updates in a row, up to step "
            f"{train_state.step}: use a lower rate, clip_norm, or precision bfloat16 in place of float16"
        )


def _due(run: Run, every: int) -> bool:
    return every > 0 and (run.train_state.step % every == 0 or _at_its_end(run))


def _mean_over_ranks(ranks: Ranks, found: list[Measures]) -> float:
    """The loss of all tokens of all processes."""
    parts = sorted({part for one in found for part in one.counts})
    joined = Measures.joined(found)
    numbers = ranks.total([x for part in parts for x in (joined.sums[part], joined.counts[part])])
    pairs = {part: (numbers[2 * i], round(numbers[2 * i + 1])) for i, part in enumerate(parts)}
    return Measures(
        sums={part: pair[0] for part, pair in pairs.items()},
        counts={part: pair[1] for part, pair in pairs.items()},
        weights=joined.weights,
    ).loss


def _write(run: Run, event: str, numbers: Mapping[str, Any]) -> None:
    if run.journal is not None:
        run.journal.write(event, run.train_state.step, numbers)


def _report(run: Run, line: str) -> None:
    if run.journal is not None:
        run.journal.report(line, False)
