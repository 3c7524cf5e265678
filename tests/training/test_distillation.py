"""Learning of a teacher: losses against formulas, students cut out of it, what it writes, whole jobs."""

from __future__ import annotations

import json
import random
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from pegasus import PegasusConfig, PegasusForConditionalGeneration, PegasusTokenizerFast
from pegasus.backends import load_learning_backend
from pegasus.backends.contract.learning import DistillationSettings, Objective, OptimSettings, Placement
from pegasus.backends.learning.alone import Alone
from pegasus.backends.torch.learning.distillation import attention_divergence, state_difference
from pegasus.backends.torch.learning.engine import TorchEngine
from pegasus.backends.torch.learning.loss import chunked_divergence
from pegasus.checkpoint.comparison import compare
from pegasus.checkpoint.shrink import StudentShape, shrink
from pegasus.cli.app import main
from pegasus.data.records import Pair
from pegasus.errors import BadData, BadSetting, NotOffered
from pegasus.spec.layer_maps import compared_layers, first_layers
from pegasus.training.distill import distill, read_distill_job
from pegasus.training.finetune import finetune
from pegasus.training.jobs import DistillJob, FinetuneJob, make_job, merge
from pegasus.training.journal import read_journal
from pegasus.training.pseudo_labels import PseudoLabels
from pegasus.training.sections import PseudoSection
from pegasus.training.toml import to_toml

SMALL = Path(__file__).resolve().parents[1] / "fixtures" / "tokenizer-small" / "spiece.model"
EVERYTHING = DistillationSettings(logits=0.8, temperature=2.0, hidden_states=1.0, attentions=0.5)
N, D, V = 23, 8, 61


# -- losses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("elements", [1, 5 * V, 10**6])
def test_divergence_and_its_gradients_equal_the_plain_ones(elements):
    torch.manual_seed(3)
    states = torch.randn(N, D, requires_grad=True)
    weight, teacher, bias = torch.randn(V, D, requires_grad=True), torch.randn(N, V), torch.randn(V)
    logits = functional.linear(states, weight, bias)
    p, q = torch.softmax(teacher / 3, 1), torch.softmax(logits / 3, 1)
    plain = 9 * (p * (p.log() - q.log())).sum()
    expected = torch.autograd.grad(2 * plain, (states, weight))
    found = chunked_divergence(
        states, weight, lambda rows: teacher[rows], 3.0, bias_V=bias, elements=elements
    )
    torch.testing.assert_close(found, plain)
    for one, other in zip(torch.autograd.grad(2 * found, (states, weight)), expected):
        torch.testing.assert_close(one, other)


def test_a_student_that_says_the_same_differs_by_nothing():
    states, weight = torch.randn(5, D), torch.randn(V, D)
    found = chunked_divergence(states, weight, lambda rows: states[rows] @ weight.T, 2.0)
    assert float(found) == pytest.approx(0.0, abs=1e-5)


def test_states_are_compared_without_scale_and_padding():
    torch.manual_seed(0)
    one, other = torch.randn(2, 4, 6), torch.randn(2, 4, 6)
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])
    plain = sum(
        float(((_normal(one[b, t]) - _normal(other[b, t])) ** 2).mean())
        for b, t in [(0, 0), (0, 1), (0, 2), (1, 0)]
    )
    assert float(state_difference(one, other, mask)) == pytest.approx(plain, rel=1e-3)
    assert float(state_difference(one, 3 * one + 1, mask)) == pytest.approx(0, abs=1e-3)


def _normal(state):
    return (state - state.mean()) / state.var(unbiased=False).sqrt()


def test_of_other_widths_the_cosines_between_tokens_are_compared():
    torch.manual_seed(0)
    one, other = torch.randn(1, 4, 6), torch.randn(1, 4, 3)
    mask = torch.tensor([[1, 1, 1, 0]])
    cosines = [functional.normalize(some[0, :3], dim=-1) for some in (one, other)]
    apart = (cosines[0] @ cosines[0].T - cosines[1] @ cosines[1].T) ** 2
    assert float(state_difference(one, other, mask)) == pytest.approx(float(apart.mean(1).sum()), rel=1e-5)
    turned = torch.cat([one, torch.zeros(1, 4, 2)], -1)
    assert float(state_difference(one, turned, mask)) == pytest.approx(0, abs=1e-6)


def test_attention_is_compared_by_head_or_by_their_mean():
    torch.manual_seed(0)
    p, q = torch.softmax(torch.randn(2, 1, 4, 3, 5), -1)
    mask = torch.tensor([[1, 1, 0]])
    plain = (p * (p.log() - q.log())).sum(-1).mean(1)[0, :2].sum()
    assert float(attention_divergence(q, p, mask)) == pytest.approx(float(plain), rel=1e-5)
    fewer = attention_divergence(q[:, :2], p, mask)
    mean, other = p.mean(1), q[:, :2].mean(1)
    plain = (mean * (mean.log() - other.log())).sum(-1)[0, :2].sum()
    assert float(fewer) == pytest.approx(float(plain), rel=1e-5)


# -- the engine --------------------------------------------------------------------------------------------


def engine(student, teacher, settings=EVERYTHING, **fields):
    objective = Objective(parts=("target",), distillation=settings, **fields)
    optim = OptimSettings("adamw", 1e-2, schedule="constant", warmup_steps=0)
    return TorchEngine(student, optim, objective, Placement("cpu"), Alone(), teacher)


@pytest.mark.parametrize(
    "narrow", [{}, {"d_model": 8, "encoder_attention_heads": 1, "decoder_attention_heads": 1}]
)
def test_a_student_comes_nearer_to_its_teacher_in_everything(tiny, narrow):
    teacher = tiny.model(seed=1)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    learner = engine(tiny.model(seed=2, decoder_layers=1, **narrow), teacher, target_weight=0.0)
    batches = [tiny.batch(seed, mlm=False) for seed in range(4)]
    found = [learner.step(batches) for _ in range(30)]
    first, last = found[0], found[-1]
    assert set(first.counts) == {"target", "logits", "hidden_states", "attentions"}
    tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
    labels = sum(int((batch["labels"] != -100).sum()) for batch in batches)
    assert first.counts == {
        "target": labels, "logits": labels, "hidden_states": tokens + labels, "attentions": tokens + labels,
    }  # fmt: skip
    expected = sum(first.weights[part] * first.mean(part) for part in first.counts)
    assert first.loss == pytest.approx(expected)
    for part in ("logits", "hidden_states", "attentions"):
        assert last.mean(part) < 0.8 * first.mean(part), part
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert not teacher.training


def test_a_copy_of_the_teacher_has_nothing_to_learn_of_it(tiny):
    learner = engine(tiny.model(seed=1), tiny.model(seed=1), target_weight=0.0)
    found = learner.step([tiny.batch(0, mlm=False)])
    assert all(abs(found.mean(part)) < 1e-5 for part in ("logits", "hidden_states", "attentions"))
    assert found.mean("target") > 1
    assert found.norm < 1e-3


def test_micro_batches_change_nothing(tiny):
    batches = [tiny.batch(seed, mlm=False) for seed in range(2)]
    whole = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    weights = []
    for some in ([whole], batches):
        student = tiny.model(seed=2, decoder_layers=1)
        learner = engine(student, tiny.model(seed=1))
        learner.step(some)
        weights.append({name: value.detach().clone() for name, value in student.named_parameters()})
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-3, atol=2e-4)


def test_held_out_loss_is_that_of_the_words_alone(tiny):
    student = tiny.model(seed=2)
    plain = TorchEngine(
        tiny.model(seed=2), OptimSettings("adamw"), Objective(parts=("target",)), Placement("cpu"), Alone()
    )
    batch = tiny.batch(0, mlm=False)
    found = engine(student, tiny.model(seed=1), target_weight=0.2).measure(batch)
    assert found.loss == pytest.approx(plain.measure(batch).loss)
    assert set(found.counts) == {"target"}


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"vocab_size": 50}, BadSetting, "50 tokens and the student 97"),
        ({}, BadSetting, "each of the student's 2 layers"),
        ({"kind": "causal"}, NotOffered, "causal"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(tiny, change, error, told):
    settings = EVERYTHING if change else DistillationSettings(logits=1.0, decoder_layers=(0, 9))
    with pytest.raises(error, match=told):
        engine(tiny.model(), tiny.model(**change), settings)
    with pytest.raises(BadSetting, match="pegasus distill"):
        engine(tiny.model(), None)


def test_a_backend_that_compares_with_no_teacher_says_so():
    pytest.importorskip("tensorflow")
    backend = load_learning_backend("tensorflow")
    with pytest.raises(NotOffered, match="pseudo-labels"):
        backend.engine(None, OptimSettings(), Objective(), Placement(), Alone(), object())


# -- students ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("teacher", "student", "layers"),
    [
        (16, 4, (0, 5, 10, 15)), (16, 12, (0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 15)), (3, 1, (0,)),
        (12, 6, (0, 2, 4, 7, 9, 11)), (12, 3, (0, 6, 11)), (12, 12, tuple(range(12))), (24, 2, (0, 23)),
        (6, 3, (0, 3, 5)), (16, 5, (0, 4, 8, 11, 15)),
    ],
)  # fmt: skip
def test_layers_that_a_student_begins_with(teacher, student, layers):
    assert first_layers(teacher, student) == layers


@pytest.mark.parametrize("teacher", range(1, 25))
def test_layers_ascend_without_a_gap_whatever_the_depths(teacher):
    for student in range(1, teacher + 1):
        first, compared = first_layers(teacher, student), compared_layers(teacher, student)
        for layers in (first, compared):
            assert len(set(layers)) == student
            assert list(layers) == sorted(layers)
            assert 0 <= layers[0] <= layers[-1] < teacher
        assert compared[-1] == teacher - 1
    with pytest.raises(BadSetting, match="1 to"):
        first_layers(teacher, teacher + 1)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, tiny) -> Path:
    """A teacher with a tokenizer, whose heads are 8 wide."""
    place = tmp_path_factory.mktemp("teacher")
    tokenizer = PegasusTokenizerFast(str(SMALL), model_max_length=64)
    tokenizer.save_pretrained(place)
    model = tiny.model(
        seed=1, vocab_size=len(tokenizer), encoder_layers=3, decoder_layers=4, max_position_embeddings=64
    )
    model.generation_config.max_length = 12
    model.generation_config.min_length = 4
    model.save_pretrained(place)
    return place


def test_a_student_says_what_its_layers_say(teacher, tmp_path):
    """The whole teacher but for some layers is that teacher with those layers taken out."""
    shrink(teacher, tmp_path, StudentShape(encoder_layers=2, decoder_from=(0, 3)))
    student = PegasusForConditionalGeneration.from_pretrained(tmp_path)
    whole = PegasusForConditionalGeneration.from_pretrained(teacher)
    whole.model.encoder.layers = torch.nn.ModuleList(whole.model.encoder.layers[i] for i in (0, 2))
    whole.model.decoder.layers = torch.nn.ModuleList(whole.model.decoder.layers[i] for i in (0, 3))
    ids = torch.randint(4, 90, (2, 9))
    with torch.no_grad():
        found, wanted = (model.eval()(ids, decoder_input_ids=ids).logits for model in (student, whole))
    torch.testing.assert_close(found, wanted)
    assert student.generation_config.max_length == 12


def test_a_narrower_student_is_the_teacher_where_what_it_lost_was_nothing(tmp_path, tiny):
    """Half of the features, heads and units of a teacher are zero: without them it says the same."""
    torch.manual_seed(5)
    model = tiny.model(seed=1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("fc1.weight", "fc1.bias")):
                weight[::2] = 0  # units that do nothing, every other one
        for attention in [m for m in model.modules() if hasattr(m, "out_proj")]:
            attention.out_proj.weight[:, :8] = 0  # the first head
    model.save_pretrained(tmp_path / "teacher")
    shape = StudentShape(encoder_ffn=12, decoder_ffn=12)
    smaller = shrink(tmp_path / "teacher", tmp_path / "student", shape)
    assert (smaller.encoder_ffn_dim, smaller.d_model) == (12, 16)
    student = PegasusForConditionalGeneration.from_pretrained(tmp_path / "student").eval()
    ids = torch.randint(4, 90, (2, 9))
    with torch.no_grad():
        found, wanted = (one.eval()(ids, decoder_input_ids=ids).logits for one in (student, model))
    torch.testing.assert_close(found, wanted)
    narrow = shrink(tmp_path / "teacher", tmp_path / "narrow", StudentShape(width=8))
    assert (narrow.encoder_attention_heads, narrow.encoder_ffn_dim) == (1, 12)
    kept = PegasusForConditionalGeneration.from_pretrained(tmp_path / "narrow").state_dict()
    given = model.state_dict()
    # Of each attention the second head is left, for the first one writes nothing.
    values = given["model.encoder.layers.0.self_attn.v_proj.bias"]
    torch.testing.assert_close(kept["model.encoder.layers.0.self_attn.v_proj.bias"], values[8:])


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ({"encoder_layers": 4}, "1 to 3 layers"),
        ({"decoder_from": (0, 4)}, r"\[0, 4\]"),
        ({"decoder_layers": 1, "decoder_from": (0, 1)}, "names 1 layers"),
        ({"width": 12}, "multiple"),
        ({"width": 32}, "multiple"),
        ({"encoder_ffn": 99}, "give less"),
    ],
)
def test_a_shape_that_cannot_be_cut_out_is_refused(teacher, tmp_path, shape, told):
    with pytest.raises(BadSetting, match=told):
        shrink(teacher, tmp_path / "student", StudentShape(**shape))
    assert not (tmp_path / "student").exists()


def test_inspect_tells_what_was_copied(teacher, tmp_path, capsys):
    shrink(teacher, tmp_path, StudentShape(decoder_layers=2))
    model = PegasusForConditionalGeneration.from_pretrained(tmp_path)
    with torch.no_grad():
        model.model.decoder.layers[1].fc1.weight += 0.01
    model.half().save_pretrained(tmp_path)
    found = {one.part: one for one in compare(tmp_path, teacher)}
    assert (found["decoder layer 0"].source, found["decoder layer 0"].distance) == ("decoder layer 0", 0)
    moved = found["decoder layer 1"]
    assert (moved.source, moved.equal, moved.tensors) == ("decoder layer 3", 25, 26)
    assert 0 < moved.distance < 0.2
    assert main(["inspect", str(tmp_path), "--against", str(teacher)]) == 0
    shown = capsys.readouterr().out
    assert "decoder layer 3" in shown
    assert "25 of 26" in shown


# -- what the teacher writes -------------------------------------------------------------------------------


TEXT = "Ann Marlow opened the old bridge in 1966 after two years of repairs."


def labels(tmp_path, rows, **section):
    """Pseudo-labels that are written already: of one document each."""
    documents = [Pair(TEXT, (), str(number)) for number in range(len(rows))]
    place = Path(__file__).resolve().parents[2] / "src" / "pegasus" / "assets" / "pegasus-mini"
    found = PseudoLabels(
        PseudoSection(part=len(rows), **section), place, tmp_path, max_source=64, device="cpu"
    )
    found.folder.mkdir(parents=True)
    found._file(documents).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return found, documents


@pytest.mark.parametrize(
    ("row", "section", "kept"),
    [
        ({}, {}, True),
        ({"finish_reason": "length"}, {}, False),
        ({"finish_reason": "length"}, {"unfinished": True}, True),
        ({"score": -3.0}, {"min_score": -2.0}, False),
        ({"score": -1.0}, {"min_score": -2.0}, True),
        ({"summary_tokens": 3}, {}, False),
        ({"summary_tokens": 21}, {}, False),
        ({"summary_tokens": 15}, {"max_tokens": 14}, False),
        ({"text": "the bridge opened again " * 5}, {}, False),
        ({"text": "the bridge opened again " * 5}, {"repetitive": True}, True),
        ({"text": "Ann Marlow opened the bridge in 1967."}, {}, True),
        ({"text": "Ann Marlow opened the bridge in 1967."}, {"coverage": 0.5}, False),
        ({"text": "Ann Marlow opened the bridge in 1966."}, {"coverage": 0.5}, True),
        ({"text": " "}, {}, False),
    ],
)
def test_filters(tmp_path, row, section, kept):
    usual = {"text": "Ann opened it.", "score": -0.5, "summary_tokens": 10, "finish_reason": "eos"}
    found, documents = labels(tmp_path, [{**usual, **row}], **section)
    tokenizer = PegasusTokenizerFast(str(SMALL), model_max_length=64)
    targets = list(found.targets(documents, tokenizer, 20 if "coverage" not in section else 60))
    assert bool(targets) == kept
    if kept:
        assert targets[0].document == TEXT
        assert targets[0].summary == row.get("text", "Ann opened it.")


def test_a_row_without_text_and_a_damaged_file(tmp_path):
    found, documents = labels(tmp_path, [{"error": "empty"}])
    assert list(found.read(documents)) == []
    found._file(documents).write_text("{")
    with pytest.raises(BadData, match="made anew"):
        list(found.read(documents))


# -- whole jobs --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    chance, place = random.Random(1), tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    words = [
        "the",
        "mayor",
        "of",
        "a",
        "small",
        "town",
        "said",
        "that",
        "new",
        "houses",
        "will",
        "be",
        "built",
        "near",
        "old",
        "river",
    ]
    with place.open("w") as out:
        for _ in range(24):
            text = " ".join(" ".join(chance.choices(words, k=6)).capitalize() + "." for _ in range(4))
            out.write(json.dumps({"document": text, "summary": text.split(". ")[0] + "."}) + "\n")
    return place


@pytest.fixture
def tables(teacher, pairs, tmp_path):
    return {
        "output": str(tmp_path / "run"), "teacher": {"model": str(teacher)},
        "student": {"decoder_layers": 2},
        "data": {"train": [str(pairs)], "validation": [str(pairs)], "max_source": 40, "max_target": 16,
                 "validation_limit": 8},
        "run": {"steps": 4, "batch": 4, "log_every": 1, "measure_every": 2, "save_every": 2},
        "optim": {"name": "adamw", "rate": 1e-3, "schedule": "constant", "warmup_steps": 1},
        "placement": {"device": "cpu"},
        "pseudo": {
            "part": 5, "num_beams": 1, "unfinished": True, "repetitive": True, "share": 0.5,
            "min_tokens": 0,
        },
        "objective": {"target_weight": 0.5, "distillation": {"logits": 0.5, "hidden_states": 0.1}},
    }  # fmt: skip


def test_a_job_of_all_three_ways_leaves_an_ordinary_folder(tables, tmp_path):
    lines: list[str] = []
    outcome = distill(make_job(DistillJob, tables), lambda line, passing: lines.append(line))
    assert outcome.ending == "done"
    events = [one for one in read_journal(tmp_path / "run" / "journal.jsonl") if one["event"] == "train"]
    assert {"loss_target", "loss_logits", "loss_hidden_states"} <= events[0].keys()
    student = PegasusForConditionalGeneration.from_pretrained(outcome.model)
    assert (student.config.encoder_layers, student.config.decoder_layers) == (3, 2)
    files = sorted(path.name for path in outcome.model.iterdir())
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(files)
    assert len(list((tmp_path / "run" / "pseudo").glob("*/*.jsonl"))) == 5
    assert any("has written of 24 documents" in line for line in lines)
    # The same call again is over; what the teacher wrote serves another job without writing.
    assert distill(make_job(DistillJob, tables)).step == 4
    other = merge(
        tables, {"output": str(tmp_path / "other"), "pseudo": {"cache": str(tmp_path / "run" / "pseudo")}}
    )
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "pseudo").rglob("*")}
    distill(make_job(DistillJob, other))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "pseudo").rglob("*")} == before
    assert not (tmp_path / "other" / "pseudo").exists()
    one, two = (folder / "model" / "model.safetensors" for folder in (tmp_path / "run", tmp_path / "other"))
    assert one.read_bytes() == two.read_bytes()


def test_writing_that_was_stopped_goes_on(tables, teacher, pairs, tmp_path):
    job = make_job(DistillJob, tables)
    documents = [Pair(json.loads(line)["document"], ("",)) for line in pairs.read_text().splitlines()]
    asked = iter([False, False, True])
    some = PseudoLabels(job.pseudo, teacher, tmp_path / "cache", 40, "cpu")
    assert not some.write(documents, stop=lambda: next(asked))
    made = {path: path.read_bytes() for path in some.folder.iterdir()}
    assert len(made) == 2
    assert some.write(documents)
    assert len(list(some.folder.iterdir())) == 5
    assert all(path.read_bytes() == content for path, content in made.items())
    # Two processes write what one does.
    both = PseudoLabels(job.pseudo, teacher, tmp_path / "both", 40, "cpu")
    assert all(both.write(documents, rank, 2) for rank in range(2))
    assert {p.name: p.read_bytes() for p in both.folder.iterdir()} == {
        p.name: p.read_bytes() for p in some.folder.iterdir()
    }
    assert len(list(some.read(documents))) == 24


def test_a_student_of_another_shape_is_cut_out_anew(tables, tmp_path):
    del tables["pseudo"], tables["objective"]
    distill(make_job(DistillJob, merge(tables, {"run": {"steps": 1, "save_every": 0, "measure_every": 0}})))
    other = merge(tables, {"student": {"decoder_layers": 1}})
    with pytest.raises(BadSetting, match=r"student\.decoder_layers was 2 and is 1"):
        distill(make_job(DistillJob, other))
    assert PegasusConfig.from_pretrained(tmp_path / "run" / "student").decoder_layers == 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"student": {"preset": "16-3"}}, "did you mean 16-"),
        (
            {"student": {"decoder_layer": 2}},
            "unknown key student.decoder_layer: did you mean decoder_layers",
        ),
        ({"pseudo": {"share": 0}}, "pseudo.share is 0"),
        ({"objective": {"distillation": {"temperature": 0.0}}}, "temperature is 0.0"),
        ({"objective": {"distillation": {"logit": 1.0}}}, "did you mean logits?"),
        ({"model": {"start": "pegasus-mini"}}, "both say what the student begins as"),
        ({"model": {"kind": "causal"}}, "encoder with a decoder"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused(tables, tmp_path, change, told):
    file = tmp_path / "job.toml"
    file.write_text(to_toml(merge(tables, change)))
    with pytest.raises(BadSetting, match=told):
        read_distill_job(file)


def test_only_a_distillation_has_a_teacher(tables):
    del tables["teacher"], tables["student"], tables["pseudo"]
    with pytest.raises(BadSetting, match="only a job of pegasus distill has"):
        finetune(make_job(FinetuneJob, tables))


def test_a_preset_fills_in_depths_and_the_job_wins(tables, tmp_path):
    file = tmp_path / "job.toml"
    tables["student"] = {"preset": "12-3", "decoder_layers": 2}
    file.write_text(to_toml(tables))
    job = read_distill_job(file)
    assert (job.student.encoder_layers, job.student.decoder_layers) == (12, 2)
    assert job.objective.label_smoothing == 0.1
    assert tomllib.loads(to_toml(job.model_dump()))["student"]["preset"] == "12-3"


def test_a_student_drafts_for_its_teacher_without_changing_a_token(tables, teacher, tmp_path):
    del tables["pseudo"]
    student = PegasusForConditionalGeneration.from_pretrained(distill(make_job(DistillJob, tables)).model)
    whole = PegasusForConditionalGeneration.from_pretrained(teacher).eval()
    ids = torch.randint(4, 90, (1, 20))
    plain = whole.generate(ids, num_beams=1, max_new_tokens=12)
    drafted = whole.generate(ids, num_beams=1, max_new_tokens=12, assistant_model=student)
    assert plain.tolist() == drafted.tolist()
