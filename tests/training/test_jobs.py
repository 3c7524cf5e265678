"""Job files: typed, every key known, changed from the command line, written back."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from pegasus.backends.contract.learning import LoraSettings
from pegasus.errors import BadSetting
from pegasus.training.distill import read_distill_job
from pegasus.training.finetune import read_finetune_job
from pegasus.training.jobs import FinetuneJob, PretrainJob, make_job, merge, raw_job
from pegasus.training.pretrain import read_pretrain_job
from pegasus.training.resume import check_finished, keep_job
from pegasus.training.toml import to_toml

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
LEAST = {"output": "out", "run": {"steps": 3}, "data": {"train": ["a.jsonl"]}}


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "job.toml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optim": {"ratee": 1}}, "unknown key optim.ratee: did you mean rate?"),
        ({"run": {"step": 3}}, "unknown key run.step: did you mean steps?"),
        ({"objective": {"lora": {"rnk": 3}}}, "unknown key objective.lora.rnk: did you mean rank?"),
        ({"placment": {}}, "unknown key placment: did you mean placement?"),
        ({"xyzzy": 1}, "unknown key xyzzy: known are backend, data, evaluation, model"),
        ({"optim": {"name": "sgd"}}, "optim.name is 'sgd'"),
        ({"run": {"steps": 0}}, "run.steps is 0"),
        ({"run": {"batch": "many"}}, "run.batch is 'many'"),
    ],
)
def test_what_is_wrong_is_named(change, message):
    with pytest.raises(BadSetting) as problem:
        make_job(FinetuneJob, merge(LEAST, change))
    assert message in str(problem.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(
            ({"optim": {"rate": rate}}, "rate is")
            for rate in (float("nan"), float("inf"), 1e30, -1e-3, 0.0)
        ),
        ({"optim": {"others_rate": -1.0}}, "others_rate is -1.0; it must be a number above 0"),
        ({"optim": {"betas": (0.9, 1.0)}}, "betas is (0.9, 1.0); it must be two numbers"),
        ({"optim": {"betas": (float("nan"), 0.5)}}, "optim.betas.0 is nan"),
        ({"optim": {"clip_norm": 0.0}}, "clip_norm is 0.0"),
        ({"optim": {"eps": 0.0}}, "eps is 0.0"),
        ({"optim": {"weight_decay": -0.1}}, "weight_decay is -0.1"),
        ({"optim": {"warmup_steps": -1}}, "warmup_steps is -1"),
        (
            {"optim": {"schedule": "linear", "warmup_steps": 4}},
            "optim.warmup_steps is 4 and the run has 3 steps",
        ),
        ({"objective": {"label_smoothing": 1.0}}, "label_smoothing is 1.0"),
        ({"objective": {"label_smoothing": float("nan")}}, "label_smoothing is nan"),
        ({"objective": {"mlm_weight": -1.0}}, "mlm_weight is -1.0"),
        ({"objective": {"parts": []}}, "parts is ()"),
        ({"objective": {"lora": {"rank": 0}}}, "rank is 0"),
        ({"objective": {"lora": {"dropout": 1.0}}}, "dropout is 1.0"),
        ({"objective": {"lora": {"targets": []}}}, "targets is ()"),
        ({"run": {"seed": -1}}, "run.seed is -1"),
        ({"run": {"seed": 2**40}}, "run.seed is 1099511627776"),
        ({"run": {"batch": 10**9}}, "run.batch is 1000000000"),
        ({"run": {"accumulate": 10**9}}, "run.accumulate is 1000000000"),
        ({"run": {"round_lengths": 10**9}}, "run.round_lengths is 1000000000"),
        ({"run": {"steps": 10**12}}, "run.steps is"),
        ({"run": {"steps": float("inf")}}, "run.steps is inf"),
        ({"data": {"max_source": 10**9}}, "data.max_source is 1000000000"),
        ({"evaluation": {"num_beams": 10**6}}, "evaluation.num_beams is 1000000"),
        ({"evaluation": {"length_penalty": float("nan")}}, "evaluation.length_penalty is nan"),
        ({"output": ""}, "output is ''; it must be the name of a folder"),
        ({"output": "  "}, "output is '  '"),
        ({"output": "a\x00b"}, "output is 'a\\x00b'"),
        ({"run": {"best": "rougeX"}}, "run.best is 'rougeX', which is never measured: did you mean rouge"),
        ({"run": {"best": "accuracy"}}, "it can be loss, rouge1, rouge2, rougeL, rougeLsum"),
        ({"run": {"best": "rougeL"}}, "run.evaluate_every 0, so it is never measured"),
    ],
)
def test_what_makes_no_sense_is_refused(change, message):
    with pytest.raises(BadSetting) as problem:
        make_job(FinetuneJob, merge(LEAST, change))
    assert message in str(problem.value)


@pytest.mark.parametrize("value", ["3", "2.5", "true", "[]", "{}", "nan"])
def test_a_task_and_a_preset_are_names(value, file):
    least = file('output = "a"\n[run]\nsteps = 1\n[data]\ntrain = ["x"]\n')
    with pytest.raises(BadSetting, match="task is"):
        read_finetune_job(least, [f"task={value}"])
    with pytest.raises(BadSetting, match="preset is"):
        read_pretrain_job(least, [f"preset={value}", "data={shards='x'}"])


@pytest.mark.parametrize(
    "change",
    [
        {"fates": {"mask": float("nan")}},
        {"words": {"ratio": float("nan")}},
        {"words": {"random": float("nan")}},
        {"gap": {"ratio": float("nan")}},
        {"gap": {"ngram": 0}},
        {"gap": {"candidates": 0, "strategy": "seq-orig"}},
        {"max_input": 10**9},
        {"min_target": -1},
    ],
)
def test_examples_without_sense_are_refused(change):
    with pytest.raises(BadSetting, match="example"):
        make_job(PretrainJob, {**LEAST, "data": {"shards": "s"}, "example": change})


def test_pre_training_measures_no_rouge():
    with pytest.raises(BadSetting, match=r"run.best is 'rougeL'.* it can be loss"):
        make_job(PretrainJob, {**LEAST, "data": {"shards": "s"}, "run": {"steps": 3, "best": "rougeL"}})


def test_the_authors_ramp_may_be_longer_than_the_run():
    assert make_job(FinetuneJob, LEAST).optim.warmup_steps == 10_000


def test_everything_that_is_wrong_is_named_at_once():
    with pytest.raises(BadSetting) as problem:
        make_job(FinetuneJob, merge(LEAST, {"model": {"strat": "x"}, "run": {"sed": 1}}))
    assert "unknown key model.strat: did you mean start?" in str(problem.value)
    assert "unknown key run.sed: did you mean seed?" in str(problem.value)


def test_what_is_missing_is_named():
    with pytest.raises(BadSetting, match="data is missing"):
        make_job(FinetuneJob, {"output": "x", "run": {"steps": 1}})


def test_changes_win_over_the_file(file):
    path = file('output = "a"\n[run]\nsteps = 3\n[data]\ntrain = ["x"]\n')
    changes = [
        "run.steps=7",
        "optim.rate=1e-3",
        "output=runs/b",
        "objective.frozen=['encoder']",
        "optim.betas=[0.9, 0.98]",
    ]
    job = read_finetune_job(path, changes)
    assert (job.run.steps, job.optim.rate, job.output) == (7, 1e-3, "runs/b")
    assert (job.objective.frozen, job.optim.betas) == (("encoder",), (0.9, 0.98))


@pytest.mark.parametrize("change", ["run.steps", "=3", "output.x=1", "run..steps=1"])
def test_a_change_that_cannot_be_read_is_refused(change, file):
    with pytest.raises(BadSetting, match="--set"):
        raw_job(file('output = "a"\n'), [change])


def test_a_file_that_is_no_toml_or_not_there(file, tmp_path):
    with pytest.raises(BadSetting, match="no TOML"):
        raw_job(file("output = "))
    with pytest.raises(BadSetting, match=r"cannot be read \(No such file"):
        raw_job(tmp_path / "none.toml")


def test_a_task_fills_in_what_the_job_leaves_open(file):
    job = read_finetune_job(file('output = "a"\ntask = "xsum"\n[data]\nmax_source = 512\n'))
    assert (job.data.max_source, job.data.max_target, job.run.steps) == (512, 64, 30_000)
    assert (job.optim.rate, job.objective.label_smoothing) == (1e-4, 0.1)
    assert (job.evaluation.num_beams, job.evaluation.length_penalty) == (8, 0.8)
    assert job.data.train == ["hub:xsum@train"]
    with pytest.raises(BadSetting, match="did you mean xsum"):
        read_finetune_job(file('output = "a"\ntask = "xsumm"\n'))


def test_a_preset_fills_in_the_examples(file):
    job = read_pretrain_job(
        file(
            'output = "a"\npreset = "paper-large"\n[run]\nsteps = 1\n'
            '[data]\nshards = "s"\n[example.gap]\nratio = 0.3\n'
        )
    )
    assert (job.example.fates.mask, job.example.fates.intact, job.example.gap.ratio) == (0.8, 0.2, 0.3)
    with pytest.raises(BadSetting, match="did you mean paper-large"):
        read_pretrain_job(
            file('output = "a"\npreset = "paper-larg"\n[run]\nsteps = 1\n[data]\nshards = "s"\n')
        )


def test_settings_of_examples_are_checked_with_the_job():
    with pytest.raises(BadSetting, match=r"example.*max_input and max_target"):
        make_job(PretrainJob, {**LEAST, "data": {"shards": "s"}, "example": {"max_input": 1}})
    with pytest.raises(BadSetting, match=r"unknown key example.gap.ration: did you mean ratio\?"):
        make_job(PretrainJob, {**LEAST, "data": {"shards": "s"}, "example": {"gap": {"ration": 1}}})


def test_a_job_written_and_read_is_the_same_job():
    wanted = merge(
        LEAST,
        {"objective": {"lora": {"rank": 4, "targets": ["fc1"]}}, "model": {"config": {"a b": [1, 2.5]}}},
    )
    job = make_job(FinetuneJob, wanted)
    assert job.objective.lora == LoraSettings(rank=4, targets=("fc1",))
    assert make_job(FinetuneJob, tomllib.loads(to_toml(job.model_dump()))) == job


TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
PLAIN = st.one_of(st.booleans(), st.integers(-(2**62), 2**62), st.floats(allow_nan=False), TEXT)
TABLES = st.recursive(
    st.dictionaries(TEXT, st.one_of(PLAIN, st.lists(PLAIN, max_size=3)), max_size=4),
    lambda inner: st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(TABLES)
def test_any_table_survives_toml(values):
    assert tomllib.loads(to_toml(values)) == values


def recipes():
    for path in sorted(RECIPES.glob("**/*.toml")):
        if path.name != "model.toml":  # what others have as their base
            yield pytest.param(path, id=str(path.relative_to(RECIPES)))


@pytest.mark.parametrize("path", list(recipes()))
def test_the_recipes_are_jobs(path):
    values = raw_job(path)
    read = read_pretrain_job if "shards" in values["data"] else read_finetune_job
    assert (read_distill_job if "teacher" in values else read)(path).output


def test_a_file_may_say_only_what_differs_from_another(tmp_path):
    (tmp_path / "first.toml").write_text(
        'output = "a"\n[run]\nsteps = 3\nbatch = 2\n[data]\ntrain = ["a.jsonl"]\n'
    )
    (tmp_path / "second.toml").write_text('base = "first.toml"\noutput = "b"\n[run]\nsteps = 4\n')
    (tmp_path / "third.toml").write_text('base = "second.toml"\n')
    job = read_finetune_job(tmp_path / "third.toml", ["run.batch=5"])
    assert (job.output, job.run.steps, job.run.batch) == ("b", 4, 5)
    (tmp_path / "first.toml").write_text('base = "third.toml"\n')
    with pytest.raises(BadSetting, match="must be the name of another file"):
        read_finetune_job(tmp_path / "third.toml")


def test_a_deadline_needs_no_number_of_steps():
    job = make_job(FinetuneJob, merge(LEAST, {"run": {"minutes": 5}}))
    assert (job.run.steps, job.run.minutes) == (3, 5.0)
    del (run := dict(LEAST["run"]))["steps"]
    job = make_job(FinetuneJob, {**LEAST, "run": {**run, "minutes": 5}})
    assert job.run.steps == 10**9
    assert make_job(FinetuneJob, tomllib.loads(to_toml(job.model_dump()))) == job
    with pytest.raises(BadSetting, match=r"run\.steps is missing"):
        make_job(FinetuneJob, {**LEAST, "run": run})
    with pytest.raises(BadSetting, match=r"run\.minutes is 0"):
        make_job(FinetuneJob, merge(LEAST, {"run": {"minutes": 0}}))


MIX = {
    "mix": [
        {"train": ["a.jsonl"], "share": 0.3, "targets": {"kind": "opening", "keep": 0.2}},
        {"shards": "shards", "share": 1, "example": {"window": [80, 200], "extraction": {"share": 1.0}}},
    ],
    "lengths": {"limits": [18, 36]},
}


def test_a_mixture_is_read_and_written_back():
    job = make_job(FinetuneJob, {**LEAST, "data": MIX})
    assert job.data.mix[1].example.extraction.share == 1.0
    assert job.data.mix[0].targets.kind == "opening"
    assert make_job(FinetuneJob, tomllib.loads(to_toml(job.model_dump()))) == job


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"train": ["a.jsonl"], **MIX}, "give one of the two"),
        ({}, "data.train or data.mix says what is learned from"),
        ({"mix": [{"share": 1.0}]}, "either train or shards"),
        ({"mix": [{"share": 0.0, "shards": "a"}]}, "data.mix.0.share is 0.0"),
        ({"train": ["a"], "targets": {"coverag": 1}}, "did you mean coverage?"),
        ({"mix": [{"shar": 1, "train": ["a"]}]}, "unknown key data.mix.0.shar: did you mean share?"),
        ({"mix": [{"share": 1, "shards": "a", "example": {"windw": 1}}]}, "did you mean window?"),
        ({"mix": [{"share": 1, "train": ["a"], "ids": "("}]}, "no regular expression"),
        ({"train": ["a"], "targets": {"kind": "title"}}, "data.targets.kind is 'title'"),
    ],
)
def test_a_mixture_without_sense_is_refused(data, message):
    with pytest.raises(BadSetting) as problem:
        make_job(FinetuneJob, {**LEAST, "data": data})
    assert message in str(problem.value)


@pytest.mark.parametrize(
    ("run", "more", "said"),
    [
        ({"minutes": 5}, {"minutes": 4}, "Raise run.minutes to go on"),
        ({"steps": 5}, {"steps": 4}, "Raise run.steps to go on"),
        ({"steps": 5, "minutes": 5}, {"steps": 4}, "Raise run.minutes and run.steps to go on"),
    ],
)
def test_what_lets_a_run_that_has_ended_go_on_is_named(tmp_path, run, more, said):
    job = {"output": str(tmp_path), "model": {"start": "m"}, "data": {"train": ["x"]}}
    keep_job(make_job(FinetuneJob, {**job, "run": run}))
    (tmp_path / "model").mkdir()
    with pytest.raises(BadSetting, match=said):
        check_finished(make_job(FinetuneJob, {**job, "run": {**run, **more}}), 3)
