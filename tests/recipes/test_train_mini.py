"""The whole recipe with a teacher, from made-up text to figures: in one go, and in small pieces."""

from __future__ import annotations

import itertools
import json
import shutil

import numpy as np
import pytest
import torch

from pegasus import Summarizer
from pegasus.training.journal import read_journal

RUNS = [
    "teacher-pretrain-0",
    "teacher-pretrain-1",
    "teacher-finetune",
    "pretrain-0",
    "pretrain-1",
    "distill",
]


@pytest.fixture(scope="module", autouse=True)
def any_target(script):
    """So small a teacher babbles: here everything that it ends by itself is a target."""
    import pseudo

    kept = pseudo.good
    pseudo.good = lambda summary, *_: "" if summary.finish_reason == "length" else summary.text
    yield
    pseudo.good = kept


@pytest.fixture(scope="module")
def whole(train_mini, prepared, tmp_path_factory):
    """The work folder after everything, done in one go."""
    work = tmp_path_factory.mktemp("whole") / "work"
    shutil.copytree(prepared, work)
    assert train_mini("all", "--work", work) == 0
    return work


@pytest.fixture(scope="module")
def stopped(script, train_mini, prepared, tmp_path_factory):
    """The work folder after everything, where each call was stopped at its twelfth look at the clock."""
    work = tmp_path_factory.mktemp("stopped") / "work"
    shutil.copytree(prepared, work)
    calls = itertools.count(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script.Job, "late", lambda job: next(calls) % 12 == 0)
        statuses = [train_mini("all", "--work", work)]
        while statuses[-1] and len(statuses) < 40:
            statuses.append(train_mini("all", "--work", work))
    assert statuses[:-1] == [75] * (len(statuses) - 1)
    assert len(statuses) > 5
    assert statuses[-1] == 0
    return work


def weights(work, run):
    return torch.load(work / run / "state.pt", weights_only=True)["model"]


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_all_ends_with_a_model_and_its_figures(whole):
    summary = Summarizer.from_pretrained(whole / "pegasus-mini", device="cpu", check=False)(
        "the old bridge."
    )
    assert summary.text
    assert json.loads((whole / "results.json").read_text())["wiki_lead"]["texts"] == 24


def test_each_run_tells_its_seed_data_machine_and_losses(whole):
    for run in RUNS:
        start, *_, end = read_journal(whole / run / "journal.jsonl")
        assert {"seed", "data", "device", "torch", "matrix_rate"} <= start.keys()
        assert end["event"] == "end"
    assert {"passages/letters", "passages/wikipedia-0"} == set(
        read_journal(whole / "pretrain-1" / "journal.jsonl")[0]["data"]
    )
    stages = [event["event"] for event in read_journal(whole / "stages.jsonl")]
    assert [name for name in stages if name != "pseudo-part"][-8:] == [
        "pairs", "teacher-pretrain", "teacher-finetune", "pretrain", "pseudo", "distill", "export",
        "evaluate",
    ]  # fmt: skip


def test_the_teacher_has_a_size_of_its_own(whole):
    sizes = [weights(whole, run)["model.shared.weight"].shape[1] for run in ("teacher-finetune", "distill")]
    assert sizes == [64, 32]


def test_a_run_that_was_stopped_again_and_again_ends_with_the_same_weights(whole, stopped):
    for run in RUNS:
        assert equal(weights(whole, run), weights(stopped, run)), run
    for file in (whole / "pseudo").glob("*.npz"):
        assert (stopped / "pseudo" / file.name).read_bytes() == file.read_bytes()
    names = [file.name for file in (whole / "pegasus-mini").iterdir()]
    assert all(
        (stopped / "pegasus-mini" / n).read_bytes() == (whole / "pegasus-mini" / n).read_bytes()
        for n in names
    )


def test_the_teachers_targets_belong_to_its_sources(whole, script):
    from pairs import Pairs
    from passages import Passages

    pairs = Pairs.load(whole / "pairs" / "wiki_lead.npz")
    written = [Pairs.load(file) for file in sorted((whole / "pseudo").glob("wiki_lead-*.npz"))]
    sources = {pairs[index][0].tobytes() for index in range(len(pairs))}
    found = [some[index][0].tobytes() for some in written for index in range(len(some))]
    assert found
    assert sources.issuperset(found)
    passages = Passages.load(sorted((whole / "passages").glob("*.npz")))
    known = {np.append(np.concatenate(passages.sentences(i)[0]), 1).tobytes() for i in range(len(passages))}
    for file in (whole / "pseudo").glob("passages-*.npz"):
        some = Pairs.load(file)
        assert known.issuperset(some[index][0].astype(np.int64).tobytes() for index in range(len(some)))


def test_no_time_left_is_no_error(train_mini, prepared, tmp_path):
    assert train_mini("all", "--work", tmp_path, "--minutes", "0") == 75
    assert list(tmp_path.glob("*.model")) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["prepare"], "no spiece.model: run the stage 'vocabulary' first"),
        (["pretrain"], "no passages/*.npz: run the stage 'prepare' first"),
        (["finetune"], "no pretrain-1/state.pt: run the stage 'pretrain' first"),
        (["export", "--fresh"], "no finetune-fresh/state.pt: run the stage 'finetune --fresh' first"),
        (["join", "--from", "nowhere"], "nowhere holds nothing that split wrote"),
        (["unpack", "--from", "nowhere"], "nowhere holds no part-0/manifest.json"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_is_missing_is_named_in_a_line(script, recipe, tmp_path, capsys, words, told):
    asked = [*words, "--work", str(tmp_path / "work"), "--recipe", str(recipe), "--device", "cpu"]
    with pytest.raises(SystemExit) as ended:
        script.main(asked)
    assert ended.value.code == 1
    assert told in capsys.readouterr().err


def test_weights_alone_go_on_with_a_new_ramp(whole, train_mini, tmp_path, recipe):
    """The data and the weights of a run half done, brought to a folder with nothing in it."""
    half = tmp_path / "half"
    shutil.copytree(whole, half)
    state = torch.load(half / "distill" / "state.pt", weights_only=True)
    torch.save({**state, "step": 4}, half / "distill" / "state.pt")
    assert train_mini("pack", "--work", half, "--out", tmp_path / "data") == 0
    assert train_mini("split", "--work", half, "--out", tmp_path / "learned") == 0
    there = tmp_path / "there"
    assert train_mini("unpack", "--work", there, "--from", tmp_path / "data") == 0
    assert train_mini("join", "--work", there, "--from", tmp_path / "learned") == 0
    rounded = weights(there, "distill")
    assert all(
        torch.equal(rounded[n], w.half().float())
        for n, w in weights(half, "distill").items()
        if n in rounded
    )
    assert train_mini("all", "--work", there) == 0
    end = torch.load(there / "distill" / "state.pt", weights_only=True)
    assert (end["step"], end["begun"]) == (8, 4)
    assert not (there / "teacher-pretrain-1").joinpath("state.pt").exists()
    assert [file.name for file in (there / "pseudo").iterdir()] == [
        file.name for file in (whole / "pseudo").iterdir()
    ]


def test_join_leaves_what_is_further(whole, train_mini, tmp_path):
    work = tmp_path / "work"
    shutil.copytree(whole, work)
    assert train_mini("split", "--work", work, "--out", tmp_path / "learned") == 0
    before = (work / "distill" / "state.pt").read_bytes()
    assert train_mini("join", "--work", work, "--from", tmp_path / "learned") == 0
    assert (work / "distill" / "state.pt").read_bytes() == before
