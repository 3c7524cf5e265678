"""Rewards of what a model wrote, and the loss that makes well rewarded words more likely.

The expected reward over a model's own samples (minimum risk training; Shen et al., 2016): with s the mean
log-probability of a candidate, r its reward and t the sharpness::

    q = softmax(t · s)        loss = - Σ q (r - mean r)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sentencepiece import SentencePieceProcessor
from torch import Tensor
from torch.nn import functional

OFFSET, EOS = 103, 1
_WORD = re.compile(r"[^\W_]+")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_REFERENCE_WORDS = 64


def words_of(text: str, lower: bool = True) -> list[str]:
    """Runs of letters and digits."""
    return _WORD.findall(text.lower() if lower else text)


@dataclass(frozen=True)
class Verdict:
    """What a judge says of one text: the reward, ROUGE-1 and -2 F, and words that come from nowhere."""

    reward: float
    rouge1: float
    rouge2: float
    unknown_words: int
    made_up: int
    text: str


class Judge:
    """Rewards candidates: ROUGE against a reference, less for words that neither source nor language has.

    Args:
        model_file: the vocabulary.
        common: words of the language, in small letters.
    """

    def __init__(self, model_file: str, common: Sequence[str]) -> None:
        self.pieces, self.common = SentencePieceProcessor(model_file=model_file), set(common)

    def text_of(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of ids, what closes them left out."""
        return str(self.pieces.decode([int(one) - OFFSET for one in ids if one > OFFSET + 1]))

    def __call__(
        self, candidates: Sequence[np.ndarray], source: np.ndarray, reference: str
    ) -> list[Verdict]:
        """What each candidate is worth; without a reference the last one is it."""
        known = {word.lower() for word in words_of(self.text_of(source))}
        wanted = words_of(leading(reference or self.text_of(candidates[-1])))
        return [self._judge(ids, known, wanted) for ids in candidates]

    def _judge(self, ids: np.ndarray, known: set[str], wanted: list[str]) -> Verdict:
        text = self.text_of(ids)
        words = words_of(text)
        one, two = (_overlap(words, wanted, size) for size in (1, 2))
        foreign = [word for word in words_of(text, lower=False) if word.lower() not in known]
        numbers = sum(any(letter.isdigit() for letter in word) for word in foreign)
        spelled = [word.lower() for word in foreign if word.isalpha() and len(word) > 1]
        unknown = sum(word not in self.common for word in spelled)
        circles = any(n > 2 for n in Counter(zip(words, words[1:], words[2:], strict=False)).values())
        reward = 0.6 * one + 0.4 * two - 0.12 * min(unknown, 2) - 0.08 * min(numbers, 2)
        reward -= 0.2 * circles + 0.3 * (EOS not in ids.tolist())
        return Verdict(reward, one, two, unknown, numbers, text)


def leading(text: str, most: int = _REFERENCE_WORDS) -> str:
    """The leading sentences of at most so many words together; the first at any length."""
    kept = ""
    for sentence in _SENTENCE.split(text):
        if kept and len(f"{kept} {sentence}".split()) > most:
            break
        kept = f"{kept} {sentence}".strip()
    return kept


def _overlap(words: list[str], wanted: list[str], size: int) -> float:
    """ROUGE F of n-grams of one size, without stems."""
    one, other = (Counter(zip(*(some[k:] for k in range(size)), strict=False)) for some in (words, wanted))
    total = sum(one.values()) + sum(other.values())
    return 2 * sum((one & other).values()) / total if total else 0.0


def risk(means_N: Tensor, rewards_N: Tensor, sharpness: float) -> Tensor:
    """The loss of N candidates of one source: see the top of this file.

    Args:
        means_N: the mean log-probability of each candidate's tokens.
        rewards_N: what each is worth.
        sharpness: t.
    """
    q_N = functional.softmax(sharpness * means_N, dim=0)
    return -(q_N * (rewards_N - rewards_N.mean())).sum()
