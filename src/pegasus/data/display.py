"""An example before and after masking, in pieces that know what became of them: for whoever prints it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from pegasus.data.mask import Fate, Symbols
from pegasus.data.pretraining import Made, Prepared
from pegasus.data.records import Example
from pegasus.spec.batch import IGNORED

#: What a stretch of the input is: text, the mask of a gap sentence, the mask of a hidden word, a random
# piece : in the place of a hidden word, a piece that is to be guessed though it stands there, the end.
Role = Literal["text", "sentence mask", "word mask", "random", "kept", "end"]


@dataclass(frozen=True)
class ShownSentence:
    """A sentence of the document.

    Attributes:
        text: as it stands there.
        score: what it was chosen by; None where the strategy has no scores.
        chosen: whether it is a gap sentence.
        fate: what became of it in the input; None where it was not chosen.
    """

    text: str
    score: float | None
    chosen: bool
    fate: Fate | None


@dataclass(frozen=True)
class ShownPiece:
    """A piece of the input.

    Attributes:
        token: as the vocabulary spells it.
        role: what it is.
        hidden: the token that is to be guessed there, or None.
    """

    token: str
    role: Role
    hidden: str | None


@dataclass(frozen=True)
class ShownStretch:
    """A stretch of the input.

    Attributes:
        text: the pieces, written out.
        role: what it is.
    """

    text: str
    role: Role


def shown_sentences(prepared: Prepared, made: Made) -> list[ShownSentence]:
    """Return the document's sentences with their scores and fates."""
    fates = dict(zip(made.choice.sentences.tolist(), made.fates))
    scores = [None] * len(prepared.sentences) if prepared.scores is None else prepared.scores.tolist()
    return [
        ShownSentence(text, scores[number], number in fates, fates.get(number))
        for number, text in enumerate(prepared.sentences)
    ]


def shown_input(example: Example, tokenizer: Any, symbols: Symbols) -> list[ShownStretch]:
    """Return the input in stretches of one role each; written end to end they are the whole input."""
    stretches = groupby(shown_pieces(example, tokenizer, symbols), key=lambda piece: piece.role)
    return [ShownStretch(_written(piece.token for piece in pieces), role) for role, pieces in stretches]


def shown_pieces(example: Example, tokenizer: Any, symbols: Symbols) -> list[ShownPiece]:
    """Return the input piece by piece."""
    ids = [] if example.input_ids is None else example.input_ids.tolist()
    labels = [IGNORED] * len(ids) if example.mlm_labels is None else example.mlm_labels.tolist()
    tokens = tokenizer.convert_ids_to_tokens(ids)
    hidden = [None if label == IGNORED else tokenizer.convert_ids_to_tokens(label) for label in labels]
    roles = (_role(number, label, symbols) for number, label in zip(ids, labels))
    return [ShownPiece(*facts) for facts in zip(tokens, roles, hidden)]


def shown_target(example: Example, tokenizer: Any) -> str:
    """Return the target, written out."""
    return _written(tokenizer.convert_ids_to_tokens(example.labels.tolist())).lstrip()


def _role(number: int, label: int, symbols: Symbols) -> Role:
    if number == symbols.eos:
        return "end"
    if number == symbols.sentence_mask:
        return "sentence mask"
    if number == symbols.word_mask:
        return "word mask"
    if label == IGNORED:
        return "text"
    return "kept" if label == number else "random"


def _written(tokens: Iterable[str]) -> str:
    return "".join("\n" if token == "<n>" else token.replace("▁", " ") for token in tokens)
