"""The loop with an engine that learns nothing: what happens when, and what is remembered."""

from __future__ import annotations

import json
import math

import pytest

from pegasus.backends.contract.learning import Measures
from pegasus.backends.learning.alone import Alone
from pegasus.errors import BadSetting, PegasusError
from pegasus.training.checkpoints import Checkpoints, seal
from pegasus.training.journal import Journal, duration, progress_line, read_journal
from pegasus.training.loop import Plan, Run, TrainState, learn, resume


class Counter:
    """Its weight is the sum of all batches; its loss is what ``losses`` says, or one over the updates."""

    def __init__(self, losses=(), skipped=False):
        self.weight, self.updates, self.losses, self.skipped, self.calls = 0, 0, list(losses), skipped, []

    def step(self, batches):
        self.weight += sum(batches)
        self.updates += 1
        self.calls.append(len(batches))
        return self._found(1 / self.updates)

    def measure(self, batch):
        return self._found(self.losses.pop(0) if self.losses else 1 / self.updates)

    def _found(self, loss):
        return Measures(
            sums={"target": 2 * loss}, counts={"target": 2}, source_tokens=5, norm=1.0, rate=0.1,
            memory=2**30, skipped=self.skipped,
        )  # fmt: skip

    def save(self, folder):
        (folder / "weights").write_text(json.dumps([self.weight, self.updates]))

    def load(self, folder):
        self.weight, self.updates = json.loads((folder / "weights").read_text())


class Numbers:
    """Batches 0, 1, 2 ..."""

    def __init__(self):
        self.position = 0

    def __next__(self):
        self.position += 1
        return self.position - 1

    def state(self):
        return {"epoch": 0, "position": self.position}

    def restore(self, state):
        self.position = state["position"]


@pytest.fixture
def make(tmp_path):
    def run(engine=None, **plan):
        engine = engine or Counter()
        made = Run(
            engine=engine,
            stream=Numbers(),
            ranks=Alone(),
            plan=Plan(**{"steps": 10, "log_every": 0, **plan}),
            checkpoints=Checkpoints(tmp_path / "checkpoints", Alone()),
        )
        resume(made)
        made.journal = Journal(tmp_path / "journal.jsonl", made.train_state.step)
        return made

    return run


def events(run, name):
    return [(e["step"], e) for e in read_journal(run.journal.file) if e["event"] == name]


def steps(run, name):
    return [step for step, _ in events(run, name)]


def test_each_moment_comes_when_it_is_due_and_at_the_end(make):
    run = make(steps=10, accumulate=3, log_every=4, measure_every=3, evaluate_every=5, save_every=6)
    run.validation = lambda: [0, 0]
    run.evaluation = lambda: {"rouge1": 40.0}
    assert learn(run) == "done"
    assert run.engine.calls == [3] * 10
    assert run.engine.weight == sum(range(30))
    assert steps(run, "train") == [4, 8, 10]
    assert steps(run, "validation") == [3, 6, 9, 10]
    assert steps(run, "evaluation") == [5, 10]
    assert sorted(path.name for path in run.checkpoints.folder.iterdir()) == [
        "step-00000006",
        "step-00000010",
    ]


def test_what_is_logged(make):
    run = make(steps=4, log_every=2)
    learn(run)
    first = events(run, "train")[0][1]
    assert first["loss"] == pytest.approx((1 + 1 / 2) / 2)
    assert first["tokens_per_second"] > 0
    assert (first["learning_rate"], first["gradient_norm"], first["memory"]) == (0.1, 1.0, 2**30)


def test_the_best_model_is_kept_by_loss_or_by_a_score(make):
    kept = []
    run = make(Counter(losses=[3.0, 2.0, 2.5, 1.0, 1.5]), steps=5, measure_every=1)
    run.validation, run.keep_best = lambda: [0], lambda: kept.append(run.train_state.step)
    learn(run)
    assert kept == [1, 2, 4]
    assert (run.train_state.best, run.train_state.best_step, run.train_state.worse) == (1.0, 4, 1)


def test_more_rouge_is_better(make):
    kept, scores = [], iter([10.0, 12.0, 11.0, 12.0, 13.0])
    run = make(steps=5, evaluate_every=1, best="rouge1")
    run.evaluation = lambda: {"rouge1": next(scores)}
    run.keep_best = lambda: kept.append(run.train_state.step)
    learn(run)
    assert kept == [1, 2, 5]


def test_it_ends_early_when_it_gets_no_better_and_that_is_saved(make):
    run = make(Counter(losses=[3.0, 2.0, 2.5, 2.0, 1.0]), measure_every=1, patience=2, save_every=0)
    run.validation = lambda: [0]
    assert learn(run) == "early"
    assert run.train_state.step == 4
    again = make(measure_every=1, patience=2)
    assert again.train_state.step == 4
    assert learn(again) == "early"
    assert again.engine.updates == 4


def test_a_stop_saves_within_a_step_and_the_rest_is_made_up(make):
    run = make(steps=10, measure_every=4, save_every=0)
    run.validation = lambda: [0]
    run.asked_to_stop = lambda: run.train_state.step >= 4
    assert learn(run) == "stopped"
    assert (run.train_state.step, steps(run, "validation")) == (4, [])
    again = make(steps=10, measure_every=4, save_every=0)
    again.validation = lambda: [0]
    assert again.train_state.step == 4
    assert learn(again) == "done"
    assert steps(again, "validation") == [4, 8, 10]
    assert again.engine.weight == sum(range(10))


def test_a_run_that_is_done_does_nothing_more(make):
    learn(make(steps=4))
    again = make(steps=4)
    assert learn(again) == "done"
    assert again.engine.calls == []


def test_a_resumed_journal_has_every_step_once(make, tmp_path):
    run = make(steps=10, log_every=1, save_every=4)
    real = run.engine.step
    run.engine.step = lambda batches: real(batches) if run.train_state.step < 6 else _fail()
    with pytest.raises(RuntimeError):
        learn(run)
    with run.journal.file.open("a") as file:
        file.write('{"step": 7, "ev')  # killed in the middle of a line
    again = make(steps=10, log_every=1, save_every=4)
    learn(again)
    assert steps(again, "train") == list(range(1, 11))


def _fail():
    raise RuntimeError


def test_it_gives_up_when_no_gradient_is_finite(make):
    with pytest.raises(PegasusError, match="50 updates in a row, up to step 50"):
        learn(make(Counter(skipped=True), steps=100))


@pytest.mark.parametrize(("steps", "good"), [(2, 1), (20, 10), (1000, 975)])
def test_a_run_that_ends_without_a_finite_gradient_fails(make, steps, good):
    run = make(steps=steps, save_every=5)
    real = run.engine.step

    def step(batches):
        run.engine.skipped = run.engine.updates >= good
        return real(batches)

    run.engine.step = step
    with pytest.raises(PegasusError, match=f"for {steps - good} updates in a row, up to step {steps}"):
        learn(run)
    # What was saved is from before.
    assert all(int(path.name[5:]) <= good for path in run.checkpoints.folder.glob("step-*"))


def test_a_single_gradient_that_is_not_finite_ends_nothing(make):
    run = make(steps=20)
    real = run.engine.step

    def step(batches):
        run.engine.skipped = run.engine.updates % 2 == 1
        return real(batches)

    run.engine.step = step
    assert learn(run) == "done"


@pytest.mark.parametrize("first", [math.nan, math.inf, -math.inf])
def test_a_measurement_that_is_not_finite_is_never_the_best(make, first):
    kept = []
    run = make(Counter(losses=[first, 2.0, first, 1.0, first]), steps=5, measure_every=1)
    run.validation, run.keep_best = lambda: [0], lambda: kept.append(run.train_state.step)
    learn(run)
    assert (kept, run.train_state.best) == ([2, 4], 1.0)


def test_patience_ends_a_run_that_measures_nothing_finite(make):
    run = make(Counter(losses=[math.nan] * 9), steps=9, measure_every=1, patience=3)
    run.validation = lambda: [0]
    assert learn(run) == "early"
    assert (run.train_state.step, run.train_state.best) == (3, None)


def test_without_validation_rows_it_says_so(make):
    run = make(measure_every=1)
    run.validation = list
    with pytest.raises(BadSetting, match="no validation batch"):
        learn(run)


def test_what_json_cannot_hold_is_null(tmp_path):
    journal = Journal(tmp_path / "j.jsonl")
    journal.write("train", 1, {"loss": math.nan, "norm": 2.0})
    assert read_journal(journal.file)[0]["loss"] is None


def test_curves_are_written_for_tensorboard(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    journal = Journal(tmp_path / "j.jsonl", tensorboard=tmp_path / "curves")
    journal.write("train", 3, {"loss": 2.5})
    journal.close()
    found = accumulator.EventAccumulator(str(tmp_path / "curves")).Reload()
    assert [(one.step, one.value) for one in found.Scalars("train/loss")] == [(3, 2.5)]


def test_the_line_for_people():
    numbers = {"loss": 3.21, "tokens_per_second": 4512.0, "memory": 3 * 2**29}
    assert progress_line(120, 1000, numbers, 754) == (
        "step 120/1,000  loss 3.2100  4,512 tokens/s  1.50 GiB  12:34 left"
    )
    assert [duration(x) for x in (59, 60, 3725, math.nan)] == ["59 s", "1:00", "1:02:05", "?"]


def test_what_stands_in_a_checkpoint_is_plain(make):
    run = make(steps=2)
    learn(run)
    state = json.loads((run.checkpoints.folder / "step-00000002" / "state.json").read_text())
    assert state["feed"] == {"epoch": 0, "position": 2}
    assert TrainState(**state["standing"]).step == 2


class Clock:
    """Every look at it takes a second."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


class Timed(Counter):
    """Remembers what it is told of the time."""

    def step(self, batches, progress=0.0):
        self.told = [*getattr(self, "told", []), progress]
        return super().step(batches)


def test_a_deadline_ends_the_run_with_all_its_moments(make):
    run = make(Timed(), steps=10**9, seconds=13.0, measure_every=100, save_every=100)
    run.validation, run.clock = (lambda: [0]), Clock()
    assert learn(run) == "done"
    assert 2 <= run.train_state.step <= 6
    assert steps(run, "validation") == [run.train_state.step]
    assert len(list(run.checkpoints.folder.iterdir())) == 1
    told = run.engine.told
    assert told[0] == 0.0
    assert told == sorted(told)
    assert 0.5 < told[-1] < 1


def test_a_run_that_goes_on_counts_the_time_of_its_earlier_calls(make):
    run = make(Timed(), steps=10**9, seconds=20.0)
    run.clock, run.asked_to_stop = Clock(), lambda: run.train_state.step == 3
    assert learn(run) == "stopped"
    gone = json.loads((run.checkpoints.folder / "step-00000003" / "state.json").read_text())
    again = make(Timed(), steps=10**9, seconds=20.0)
    again.clock = Clock()
    assert again.train_state.elapsed == gone["standing"]["elapsed"] > 8
    assert learn(again) == "done"
    assert again.engine.told[0] >= gone["standing"]["elapsed"] / 20
    assert 4 <= again.train_state.step <= 8


def test_a_run_that_was_begun_before_deadlines_goes_on(make):
    learn(make(steps=4, save_every=2))
    file = next(iter(make(steps=8).checkpoints.folder.glob("step-00000004"))) / "state.json"
    state = json.loads(file.read_text())
    del state["standing"]["elapsed"]
    (file.parent / "manifest.json").unlink()
    file.write_text(json.dumps(state))
    seal(file.parent, {"step": 4, "processes": 1})
    again = make(steps=8)
    assert (again.train_state.step, again.train_state.elapsed) == (4, 0.0)
    assert learn(again) == "done"
