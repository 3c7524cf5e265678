"""The second edition of pegasus-mini: better targets, lengths that can be asked for, rewarded samples.

    python recipes/pegasus-mini/second.py targets --work W --model PRETRAINED
    python recipes/pegasus-mini/second.py train --work W --model PRETRAINED --device cuda

``targets`` reads the data pack and writes ids; ``train`` fine-tunes pre-trained weights by the clock, first
on the words of the targets, then on the expected reward of the model's own samples (``risk.py``).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import shutil
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from examples import pad  # noqa: E402
from feeding import Batch, ahead, as_batch  # noqa: E402
from pairs import Pairs  # noqa: E402
from risk import EOS, Judge, Verdict, risk  # noqa: E402
from sentencepiece import SentencePieceProcessor  # noqa: E402
from targets import Targets, common_words, save  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional  # noqa: E402

from pegasus import PegasusForConditionalGeneration  # noqa: E402
from pegasus.backends.contract import IGNORED, Objective  # noqa: E402
from pegasus.backends.learning.accounting import count_tokens  # noqa: E402
from pegasus.backends.torch.learning.learner import Learner, to_device  # noqa: E402
from pegasus.backends.torch.learning.muon import Muon  # noqa: E402
from pegasus.backends.torch.model.heads import shift_tokens_right  # noqa: E402
from pegasus.training.journal import Journal  # noqa: E402

Settings = Mapping[str, Any]
#: Tokens of a target, its end among them, up to which each of the ids from ``FIRST_LENGTH`` on stands for.
LENGTHS = (18, 36, 60, 10**6)
FIRST_LENGTH, FIRST_WORD = 4, 105


def ask_length(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The source behind the token that says how long the target is."""
    which = next(place for place, most in enumerate(LENGTHS) if len(target) <= most)
    return np.concatenate([[FIRST_LENGTH + which], source])


@dataclass(frozen=True)
class Sets:
    """What ``targets`` wrote: the pairs of each set and their human summaries."""

    pairs: Mapping[str, Pairs]
    summaries: Mapping[str, Sequence[str]]

    @classmethod
    def load(cls, folder: Path) -> Sets:
        """Read a folder."""
        names = sorted(file.stem for file in folder.glob("*.npz"))
        return cls(
            {name: Pairs.load(folder / f"{name}.npz") for name in names},
            {name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in names},
        )

    def batches(self, settings: Settings, seed: Sequence[int]) -> Iterator[Batch]:
        """Endless batches of all sets by their shares; half of the sources say how long their target is."""
        rng = np.random.default_rng(seed)
        names = list(settings["share"])
        shares = np.array([settings["share"][name] for name in names])
        turns: dict[str, list[int]] = {name: [] for name in names}
        while True:
            rows = []
            count = settings["batch"] * settings["alike"]
            for name in map(str, rng.choice(names, size=count, p=shares / shares.sum())):
                turns[name] = turns[name] or rng.permutation(len(self.pairs[name])).tolist()
                source, target = self.pairs[name][turns[name].pop()]
                rows.append((ask_length(source, target) if rng.random() < 0.5 else source, target))
            rows.sort(key=lambda row: (len(row[0]), len(row[1])))
            for place in rng.permutation(settings["alike"]).tolist():
                part = rows[place * settings["batch"] : (place + 1) * settings["batch"]]
                yield as_batch(pad([source for source, _ in part]), pad([target for _, target in part]))


class Student:
    """The model that learns, on its device."""

    def __init__(self, folder: Path, device: str, dropout: float) -> None:
        model = PegasusForConditionalGeneration.from_pretrained(folder, dropout=dropout)
        self.device = torch.device(device)
        self.model = model.float().to(self.device).train()
        self.learner = Learner(self.model, Objective(parts=("target",)))
        self.learned = [(n, p) for n, p in self.learner.named_parameters() if p.requires_grad]

    def autocast(self) -> torch.autocast:
        """Products in bfloat16."""
        return torch.autocast(self.device.type, torch.bfloat16)

    def step(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """One update; the row of pad stays zero."""
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([parameter for _, parameter in self.learned], 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            self.model.get_input_embeddings().weight[0] = 0

    def encode(self, sources: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        """The encoder's states [B, S, D] and the mask [B, S]."""
        ids = torch.from_numpy(pad(sources)).to(self.device)
        mask = (ids != 0).long()
        return self.model.get_encoder()(ids, mask, return_dict=True).last_hidden_state, mask

    @torch.no_grad()
    def sample(self, sources: Sequence[np.ndarray], settings: Settings) -> list[list[np.ndarray]]:
        """Different candidates of each source: one greedy, the others drawn among the likeliest tokens."""
        self.model.eval()
        count = settings["candidates"]
        with self.autocast():
            states, mask = self.encode(sources)
            said = self._draw(
                states.repeat_interleave(count, 0), mask.repeat_interleave(count, 0), settings
            )
        self.model.train()
        rows = said.cpu().numpy().reshape(len(sources), count, -1)
        return [
            [np.array(row) for row in {_ended(row): None for row in some} if len(row) > 2] for some in rows
        ]

    def _draw(self, states: Tensor, mask: Tensor, settings: Settings) -> Tensor:
        greedy = torch.arange(len(states), device=self.device) % settings["candidates"] == 0
        done = torch.zeros(len(states), dtype=torch.bool, device=self.device)
        tokens = torch.zeros(len(states), 1, dtype=torch.long, device=self.device)
        head, past, said = self.model.get_output_embeddings().weight, None, []
        for step in range(settings["target_tokens"]):
            out = self.model.get_decoder()(
                input_ids=tokens,
                encoder_hidden_states=states,
                encoder_attention_mask=mask,
                past_key_values=past,
                use_cache=True,
                return_dict=True,
            )
            past = out.past_key_values
            logits = functional.linear(out.last_hidden_state[:, -1], head).float()
            logits[:, 0] = logits[:, 2:FIRST_WORD] = float("-inf")
            top, ids = logits.topk(settings["top_k"], dim=-1)
            drawn = ids.gather(1, torch.multinomial(top.softmax(-1), 1))[:, 0]
            chosen = torch.where(greedy, ids[:, 0], drawn).masked_fill(done, 0)
            said.append(chosen)
            done |= chosen == EOS
            tokens = chosen[:, None]
            if step % 8 == 7 and bool(done.all()):
                break
        return torch.stack(said, 1)

    def log_probs(self, states: Tensor, mask: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The log-probability of each row of labels [N, T], and how many tokens it has."""
        config = self.model.config
        given = shift_tokens_right(labels, config.pad_token_id, config.decoder_start_token_id)
        decoded = self.model.get_decoder()(
            input_ids=given,
            encoder_hidden_states=states,
            encoder_attention_mask=mask,
            use_cache=False,
            return_dict=True,
        ).last_hidden_state
        logits = functional.linear(decoded, self.model.get_output_embeddings().weight).float()
        counts = labels != IGNORED
        losses = functional.cross_entropy(
            logits.flatten(0, 1), labels.clamp(min=0).flatten(), reduction="none"
        )
        return -(losses.view(labels.shape) * counts).sum(1), counts.sum(1)


def _ended(row: np.ndarray) -> tuple[int, ...]:
    ids = row[row != 0].tolist()
    return tuple(ids[: ids.index(EOS) + 1] if EOS in ids else ids)


def learn_words(student: Student, sets: Sets, settings: Settings, seed: int, journal: Journal) -> None:
    """Cross-entropy of the targets; the rate falls with the share of the time that is gone."""
    inner = [p for n, p in student.learned if p.dim() == 2 and "shared" not in n]
    outer = [p for n, p in student.learned if p.dim() != 2 or "shared" in n]
    optimizer = Muon(inner, outer, settings["matrix_rate"], settings["vector_rate"], weight_decay=0.01)
    begin, losses = time.monotonic(), list[Tensor]()
    for step, batch in enumerate(ahead(lambda _: sets.batches(settings, [seed, 0]))(0), 1):
        gone = (time.monotonic() - begin) / settings["seconds"]
        if gone >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = (
                settings["matrix_rate"] * min(1, step / settings["warmup_steps"]) * max(0.02, 1 - gone)
            )
        count = count_tokens(batch, ("target",))["target"]
        with student.autocast():
            loss, _ = student.learner(to_device(batch, student.device), {"target": 1 / count}, 0.0)
        student.step(loss, optimizer)
        losses.append(loss.detach())
        if step % 100 == 0:
            journal.write("words", step, {"loss": round(float(torch.stack(losses).mean()), 4)})
            losses.clear()


_judge: Judge | None = None


def _hire(model_file: str, common: Sequence[str]) -> None:
    global _judge
    _judge = Judge(model_file, common)


def _judged(candidates: list[np.ndarray], source: np.ndarray, summary: str) -> list[Verdict]:
    assert _judge is not None
    return _judge(candidates, source, summary)


@dataclass(frozen=True)
class Sampled:
    """A source as it was read, its target, what the model wrote of it, and the rewards of that."""

    source: np.ndarray
    target: np.ndarray
    candidates: list[np.ndarray]
    verdicts: Future[list[Verdict]]


def learn_rewards(
    student: Student,
    sets: Sets,
    settings: Settings,
    seed: int,
    judges: ProcessPoolExecutor,
    journal: Journal,
) -> None:
    """Rounds of sampling and of learning from the samples' rewards."""
    rng = np.random.default_rng(seed)
    rows = [
        (*sets.pairs[name][place], sets.summaries[name][place])
        for name, most in settings["most"].items()
        for place in rng.permutation(len(sets.pairs[name]))[:most].tolist()
    ]
    random.Random(seed).shuffle(rows)
    weights = [parameter for _, parameter in student.learned]
    optimizer = torch.optim.AdamW(weights, lr=settings["rate"], betas=(0.9, 0.98), weight_decay=0.0)
    size = len(rows) // settings["rounds"]
    for number in range(settings["rounds"]):
        begin = time.monotonic()
        some = sorted(rows[number * size : (number + 1) * size], key=lambda row: len(row[0]))
        samples = _sample(student, some, settings, rng, judges)
        rewards = [[verdict.reward for verdict in one.verdicts.result()[:-1]] for one in samples]
        numbers = {
            "sources": len(samples),
            "reward": float(np.mean([np.mean(one) for one in rewards if one])),
        }
        journal.write("samples", number, numbers)
        _learn_round(student, samples, settings, number, begin, rng, optimizer)


def _sample(
    student: Student,
    rows: list[tuple[np.ndarray, np.ndarray, str]],
    settings: Settings,
    rng: np.random.Generator,
    judges: ProcessPoolExecutor,
) -> list[Sampled]:
    until = time.monotonic() + settings["sampling_share"] * settings["seconds"] / settings["rounds"]
    size, samples = settings["sources_at_once"], list[Sampled]()
    for start in rng.permutation(range(0, len(rows), size)).tolist():
        if time.monotonic() > until:
            break
        part = rows[start : start + size]
        sources = [
            ask_length(source, target) if rng.random() < 0.4 else source for source, target, _ in part
        ]
        for (plain, target, summary), source, said in zip(
            part, sources, student.sample(sources, settings), strict=True
        ):
            verdicts = judges.submit(_judged, [*said, target], plain, summary)
            samples.append(Sampled(source, target.astype(np.int64), said, verdicts))
    return samples


def _learn_round(
    student: Student,
    samples: list[Sampled],
    settings: Settings,
    number: int,
    begin: float,
    rng: np.random.Generator,
    optimizer: torch.optim.Optimizer,
) -> None:
    usable = [one for one in samples if len(one.candidates) >= 4]
    blocks = [usable[i : i + settings["batch"]] for i in range(0, len(usable), settings["batch"])]
    span, step = settings["seconds"] / settings["rounds"], 0
    while (gone := (time.monotonic() - begin) / span) < 1:
        falls = max(0.05, 1 - (number + gone) / settings["rounds"])
        for group in optimizer.param_groups:
            group["lr"] = settings["rate"] * min(1, (step + 1) / 20) * falls
        loss = _loss(student, blocks[int(rng.integers(len(blocks)))], settings)
        student.step(loss, optimizer)
        step += 1


def _loss(student: Student, part: list[Sampled], settings: Settings) -> Tensor:
    """The mean cross-entropy of the targets, and the mean risk of the candidates beside them."""
    counts = [len(one.candidates) + 1 for one in part]
    labels = pad([row for one in part for row in (*one.candidates, one.target)])
    labels[labels == 0] = IGNORED
    with student.autocast():
        states, mask = student.encode([one.source for one in part])
        repeats = torch.tensor(counts, device=student.device)
        sums, lengths = student.log_probs(
            states.repeat_interleave(repeats, 0),
            mask.repeat_interleave(repeats, 0),
            torch.from_numpy(labels).to(student.device),
        )
    words, risks, start = [], [], 0
    for one, count in zip(part, counts, strict=True):
        *means, _ = (sums / lengths)[start : start + count].split(1)
        rewards = torch.tensor(
            [verdict.reward for verdict in one.verdicts.result()[:-1]], device=sums.device
        )
        risks.append(risk(torch.cat(means), rewards, settings["sharpness"]))
        words.append(-sums[start + count - 1])
        start += count
    tokens = sum(len(one.target) for one in part)
    return torch.stack(words).sum() / tokens + settings["weight"] * torch.stack(risks).mean()


def write_targets(recipe: Settings, work: Path, model: Path) -> None:
    """The stage ``targets``."""
    pieces = SentencePieceProcessor(model_file=str(model / "spiece.model"))
    data = (HERE.parents[1] / recipe["data"]).resolve()
    rows = Targets(data, pieces, recipe["targets"]).rows()
    save(rows, work / "targets", pieces, recipe["targets"]["target_tokens"] + 2)
    (work / "common.txt").write_text("\n".join(common_words(data)), encoding="utf-8")


def train(recipe: Settings, work: Path, model: Path, device: str) -> None:
    """The stage ``train``: leaves ``work/second``, a folder that ``pegasus summarize -m`` reads."""
    torch.manual_seed(recipe["seed"])
    sets, common = Sets.load(work / "targets"), (work / "common.txt").read_text(encoding="utf-8").split()
    student = Student(model, device, recipe["words"]["dropout"])
    journal = Journal(work / "second.journal.jsonl", 0)
    learn_words(student, sets, recipe["words"], recipe["seed"], journal)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(None, context, _hire, (str(model / "spiece.model"), common)) as judges:
        learn_rewards(student, sets, recipe["risk"], recipe["seed"], judges, journal)
    student.model.half().save_pretrained(work / "second")
    for file in model.iterdir():
        if file.name not in ("model.safetensors", "config.json"):
            shutil.copy(file, work / "second" / file.name)


def main() -> None:
    """Run one stage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=["targets", "train"])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="the folder of pre-trained weights")
    parser.add_argument("--recipe", type=Path, default=HERE / "second.toml")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    recipe = tomllib.loads(given.recipe.read_text(encoding="utf-8"))
    if given.stage == "targets":
        write_targets(recipe, given.work, given.model)
    else:
        train(recipe, given.work, given.model, given.device)


if __name__ == "__main__":
    main()
