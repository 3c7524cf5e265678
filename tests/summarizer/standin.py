"""A stand-in for tokenizer and model: a token is a word, a summary is the first words of the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pegasus.summarizer.lengths import Budget
from pegasus.summarizer.writer import Draft, Job

EOS = 1
NEWLINE = 10


@dataclass
class WordTokenizer:
    """Numbers words as they come, from 11 on; 10 is the line break that a model may write."""

    words: list[str] = field(default_factory=lambda: [*(f"<{n}>" for n in range(10)), "<n>"])
    eos_token_id: int = EOS

    unk_token_id: int = 0

    def encode_ids(
        self, texts: Sequence[str], add_special_tokens: bool = True, split_special_tokens: bool = False
    ) -> list[np.ndarray]:
        end = [EOS] * add_special_tokens
        return [np.array([*map(self.number, text.split()), *end], np.int32) for text in texts]

    def number(self, word: str) -> int:
        if word not in self.words:
            self.words.append(word)
        return self.words.index(word)

    def decode(self, tokens: Sequence[int], **_: Any) -> str:
        return " ".join(self.words[token] for token in tokens if token >= 10)


@dataclass
class LeadWriter:
    """Writes the first words of its input, up to its limit; keeps what it was asked."""

    limit: int = 32
    usual: Budget = Budget(0, 8)  # noqa: RUF009 - frozen
    batches: list[list[Job]] = field(default_factory=list)
    asked: list[Mapping[str, Any]] = field(default_factory=list)
    fitting: int = 1_000_000  # jobs that can be computed together
    says: Any = None  # a function of a job to the tokens it is answered with

    def fit(self, source: int, budget: Budget | None, settings: Mapping[str, Any]) -> int:
        return self.fitting

    def write(self, batch: Sequence[Job], settings: Mapping[str, Any]) -> list[Draft]:
        self.batches.append(list(batch))
        self.asked.append(settings)
        assert len({(job.budget, job.no_repeat_ngram_size) for job in batch}) == 1
        return [self.answer(job) for job in batch]

    def answer(self, job: Job) -> Draft:
        most = (job.budget or self.usual).most
        told = tuple(self.says(job)) if self.says else job.tokens[: max(2, len(job.tokens) // 2)]
        told = tuple(token for token in told if token != EOS)
        if len(told) >= most:
            return Draft((*told[: most - 1], EOS), -1.0, "length")
        return Draft((*told, EOS), -0.5, "eos")

    def attend(self, source: Sequence[int], summary: Sequence[int]) -> np.ndarray:
        same = np.equal.outer(np.asarray(summary), np.asarray(source)).astype(float) + 1e-9
        return same / same.sum(axis=1, keepdims=True)

    def wording(self, job: Job, faithful: Any) -> None:
        return None
