"""A document → one example of gap-sentence generation: sentences taken out of the input make the target.

The order of things is the authors': sentences are chosen in the *whole* document; then the input and the
target are cut. So the end of a long input and the EOS of either may be lost, and a target may hold
sentences whose mask lies beyond the cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pegasus.data.gap import Choice, GapSettings, choose, score_sentences
from pegasus.data.mask import Fate, Fates, Symbols, WordMasking, hide_words, replace_sentences
from pegasus.data.records import Example, Ids
from pegasus.data.scores import Scores
from pegasus.data.sentences import Splitter, find_splitter
from pegasus.errors import BadSetting
from pegasus.spec.batch import IGNORED
from pegasus.spec.kinds import refusals, whole

# Where the authors' reserved ids begin: lengths of targets, numbers of tasks.
_LENGTH_TOKENS, _LAST_LENGTH_TOKEN, _TASK_TOKENS = 20, 49, 50


@dataclass(frozen=True)
class Extraction:
    """Documents that are left whole, whose target is their best sentences: small models learn to copy so.

    Attributes:
        share: of the documents; 0 is none.
        sentences: of a target, drawn anew for each document, from the first to the second of the two.
        early: what a sentence's score loses, as a share of it, for each sentence before it.
    """

    share: float = 0.0
    sentences: tuple[int, int] = (1, 2)
    early: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.sentences
        if not (0 <= self.share <= 1 and 0 <= self.early < 1 and 1 <= low <= high):
            raise BadSetting(
                "Extraction takes shares from 0 to 1 and one sentence or more, the lower first; found "
                f"share {self.share:g}, early {self.early:g}, sentences {list(self.sentences)}."
            )


@dataclass(frozen=True)
class PretrainingSettings:
    """How a document becomes an example.

    Attributes:
        gap: which sentences are taken out.
        fates: what stands in their place.
        words: which words are hidden besides.
        extraction: which documents are left whole instead, and what is then the target; no word is hidden
            in them.
        window: take whole sentences of a document from a random one on, as many as have together so many
            tokens at most, but two at least; a pair (low, high) draws the number anew for each document.
            None: all sentences.
        max_input: ids of the input at most, EOS included.
        max_target: ids of the target at most, EOS included.
        max_words: read the first so many words of a document only; 0 for all.
        min_target: leave out examples whose target has so many ids or fewer; 0 leaves out none.
        length_bucket: put a token for the target's length in front of the input, so many ids a bucket; 0:
            none.
        task: put the token of this task number in front of the input; None: none.
    """

    gap: GapSettings = field(default_factory=GapSettings)
    fates: Fates = field(default_factory=Fates)
    words: WordMasking = field(default_factory=WordMasking)
    extraction: Extraction = field(default_factory=Extraction)
    window: tuple[int, int] | None = None
    max_input: int = 512
    max_target: int = 256
    max_words: int = 0
    min_target: int = 0
    length_bucket: int = 0
    task: int | None = None

    def __post_init__(self) -> None:
        if min(self.max_input, self.max_target) < 2:
            raise BadSetting(
                f"max_input and max_target are 2 at least; found {self.max_input}, {self.max_target}."
            )
        counts = {
            **dict.fromkeys(("max_input", "max_target"), whole(2, 10**6)),
            **dict.fromkeys(("max_words", "min_target", "length_bucket"), whole(0, 10**9)),
        }
        if problems := list(refusals({name: getattr(self, name) for name in counts}, counts)):
            raise BadSetting("; ".join(problems))
        if self.window is not None and not 1 <= self.window[0] <= self.window[1]:
            raise BadSetting(
                f"window is two numbers of tokens, the lower first; found {list(self.window)}."
            )
        if self.extraction.share and not self.gap.needs_scores:
            raise BadSetting(
                f"Extraction needs scores of sentences, and strategy {self.gap.strategy!r} gives none: use "
                "one of ind- or seq-."
            )
        if self.task is not None and not 0 <= self.task <= 54:
            raise BadSetting(f"There are tokens for tasks 0 to 54; found task={self.task}.")


#: Settings that were trained with: the released mixed-and-stochastic checkpoint, and the two of the paper.
PRESETS = {
    "stochastic": PretrainingSettings(GapSettings(ratio=(0.1485, 0.45), noise=0.2)),
    "paper-large": PretrainingSettings(GapSettings(ratio=0.45), Fates(mask=0.8, intact=0.2)),
    "paper-base": PretrainingSettings(GapSettings(ratio=0.3), Fates(mask=1.0, intact=0.0)),
}


@dataclass(frozen=True)
class Made:
    """An example and how it came about.

    Attributes:
        example: the example; None where the target was too short to keep.
        choice: the gap sentences.
        fates: what became of each in the input.
        parts: the input's ids by sentence, before words were hidden and the end was cut.
    """

    example: Example | None
    choice: Choice
    fates: list[Fate]
    parts: list[Ids]


def make_example(
    sentences: Sequence[Ids],
    settings: PretrainingSettings,
    symbols: Symbols,
    rng: np.random.Generator,
    *,
    scores: Scores | None = None,
    choice: Choice | None = None,
) -> Made:
    """Make the example of one document from its sentences' ids.

    Args:
        sentences: the ids of each sentence, without EOS.
        settings: how.
        symbols: what masking has to know of the vocabulary.
        rng: draws everything that is left to chance.
        scores: [sentences] what `score_sentences` gives, for strategies that want it.
        choice: the gap sentences, where they are chosen already.
    """
    if choice is None and settings.window is not None:
        sentences, scores = _window(sentences, scores, settings.window, rng)
    if choice is None and settings.extraction.share and rng.random() < settings.extraction.share:
        return _extracted(sentences, settings, symbols, rng, scores)
    if choice is None:
        choice = choose(len(sentences), settings.gap, rng, scores=scores)
    chosen = choice.sentences.tolist()
    parts, became = replace_sentences(sentences, chosen, settings.fates, symbols, rng)
    end = np.array([symbols.eos], np.int32)
    front = np.array([] if choice.token is None else [choice.token], np.int32)
    input_ids = np.concatenate([front, *parts, end], dtype=np.int32)
    labels = np.concatenate([*(sentences[index] for index in chosen), end], dtype=np.int32)
    labels = labels[: settings.max_target]
    mlm_labels = None
    if settings.words.ratio:
        input_ids, mlm_labels = hide_words(input_ids, settings.words, symbols, rng)
    input_ids, mlm_labels = _with_prefix(input_ids, mlm_labels, len(labels), settings)
    kept = len(labels) > settings.min_target
    return Made(Example(input_ids, labels, mlm_labels) if kept else None, choice, became, parts)


def _window(
    sentences: Sequence[Ids], scores: Scores | None, window: tuple[int, int], rng: np.random.Generator
) -> tuple[Sequence[Ids], Scores | None]:
    """Sentences from a random one on: as many as fit, two at least; all where they fit together."""
    sizes = np.array([len(sentence) for sentence in sentences])
    tokens = int(rng.integers(window[0], window[1] + 1))
    if len(sentences) < 2 or sizes.sum() <= tokens:
        return sentences, scores
    start = int(rng.integers(len(sentences) - 1))
    stop = start + max(2, int(np.searchsorted(np.cumsum(sizes[start:]), tokens, side="right")))
    return sentences[start:stop], None if scores is None else scores[start:stop]


def _extracted(
    sentences: Sequence[Ids],
    settings: PretrainingSettings,
    symbols: Symbols,
    rng: np.random.Generator,
    scores: Scores | None,
) -> Made:
    """A whole document, and its best sentences in text order: the next best as long as they fit."""
    rule, left = settings.extraction, settings.max_target - 1
    assert scores is not None
    rated = scores * (1 - rule.early) ** np.arange(len(sentences))
    best = np.argsort(rated, kind="stable")[::-1].tolist()
    count, taken = int(rng.integers(rule.sentences[0], rule.sentences[1] + 1)), list[int]()
    for place in best:
        if len(taken) < count and len(sentences[place]) <= left:
            taken.append(place)
            left -= len(sentences[place])
    chosen = np.array(sorted(taken or best[:1]), np.int64)
    end = np.array([symbols.eos], np.int32)
    input_ids = np.concatenate([*sentences, end], dtype=np.int32)
    labels = np.concatenate([*(sentences[index] for index in chosen), end], dtype=np.int32)
    labels = labels[: settings.max_target]
    unhidden = np.full_like(input_ids, IGNORED) if settings.words.ratio else None
    input_ids, mlm_labels = _with_prefix(input_ids, unhidden, len(labels), settings)
    kept = len(labels) > settings.min_target
    example = Example(input_ids, labels, mlm_labels) if kept else None
    return Made(example, Choice(chosen), ["intact"] * len(chosen), list(sentences))


def _with_prefix(
    input_ids: Ids, mlm_labels: Ids | None, target: int, settings: PretrainingSettings
) -> tuple[Ids, Ids | None]:
    """Put the tokens of task and length in front, then cut: they cost the input its last ids."""
    prefix = [] if settings.task is None else [_TASK_TOKENS + settings.task]
    if settings.length_bucket:
        prefix.append(min(target // settings.length_bucket + _LENGTH_TOKENS, _LAST_LENGTH_TOKEN))
    input_ids = np.concatenate([np.array(prefix, np.int32), input_ids])[: settings.max_input]
    if mlm_labels is not None:
        unhidden = np.full(len(prefix), IGNORED, np.int32)
        mlm_labels = np.concatenate([unhidden, mlm_labels])[: settings.max_input]
    return input_ids, mlm_labels


@dataclass(frozen=True)
class Prepared:
    """A document cut into sentences, in words and in ids.

    Attributes:
        sentences: the text of each sentence.
        ids: the ids of each, without EOS.
        scores: [sentences] what the strategy chooses by; None where it wants none.
        choice: the gap sentences, for the strategy that cannot leave the choice for later (continuous).
    """

    sentences: list[str]
    ids: list[Ids]
    scores: Scores | None
    choice: Choice | None = None


def cut_words(text: str, most: int) -> str:
    """Return the first `most` words, joined by single spaces where there are more; 0 keeps all."""
    if not most:
        return text
    words = [word for word in text.split(" ") if word]
    return " ".join(words[:most]) if len(words) > most else text


def encode_sentences(sentences: Sequence[str], tokenizer: Any) -> list[Ids]:
    """Return the ids of each sentence for itself, without EOS."""
    rows: list[Ids] = tokenizer.encode_ids(sentences, add_special_tokens=False)
    return rows


def prepare_document(
    text: str,
    tokenizer: Any,
    settings: PretrainingSettings,
    rng: np.random.Generator,
    splitter: str | Splitter = "authors",
) -> Prepared:
    """Cut, encode and score one document."""
    sentences = find_splitter(splitter)(cut_words(text, settings.max_words))
    gap = settings.gap
    scores, choice = None, None
    if gap.needs_scores:
        scores = score_sentences(gap.count(sentences), gap)
    elif gap.kind == "continuous":
        choice = choose(len(sentences), gap, rng, grams=gap.count(sentences))
    return Prepared(sentences, encode_sentences(sentences, tokenizer), scores, choice)


def text_example(
    text: str,
    tokenizer: Any,
    settings: PretrainingSettings,
    rng: np.random.Generator,
    *,
    symbols: Symbols | None = None,
    splitter: str | Splitter = "authors",
) -> tuple[Prepared, Made]:
    """Make the example of one document from its text: everything from sentence rule to cut, in one call.

    For many documents, `pegasus prepare` does the first half once and the loader the second each epoch.
    """
    prepared = prepare_document(text, tokenizer, settings, rng, splitter)
    known = Symbols.of(tokenizer) if symbols is None else symbols
    made = make_example(prepared.ids, settings, known, rng, scores=prepared.scores, choice=prepared.choice)
    return prepared, made
