"""Logits processors: what must or must not be said next, as classes to call on PyTorch tensors.

The names and arguments are those of transformers 4.34. Each takes the tokens so far [R, T] and the
scores [R, V], and returns scores; none changes what it is given. ``generate`` obeys the same rules by its
settings, for every backend; these are for ``generate(logits_processor=...)`` and for code of one's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pegasus.errors import BadSetting

OUT = -math.inf


class LogitsProcessor:
    """Subclass it and give it a ``__call__``."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores [R, V] after it, given the tokens [R, T] so far."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__: write one in a subclass.")


class LogitsWarper(LogitsProcessor):
    """The same for sampling: it changes how likely tokens are to be drawn."""


class LogitsProcessorList(list[Any]):
    """Several processors, one after the other."""

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        """The scores after all of them; ``kwargs`` go to those that take more than two arguments."""
        for processor in self:
            scores = (
                processor(input_ids, scores, **kwargs)
                if _takes_more(processor)
                else processor(input_ids, scores)
            )
        return scores


class MinLengthLogitsProcessor(LogitsProcessor):
    """No end before a row has ``min_length`` tokens."""

    def __init__(self, min_length: int, eos_token_id: int | list[int]) -> None:
        self.min_length = _at_least(min_length, 0, "min_length")
        self.eos_token_id = _several(eos_token_id)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores without the end, where the rows are too short."""
        return _without(scores, self.eos_token_id) if input_ids.shape[-1] < self.min_length else scores


class MinNewTokensLengthLogitsProcessor(LogitsProcessor):
    """No end before a row has ``min_new_tokens`` beside its prompt."""

    def __init__(
        self, prompt_length_to_skip: int, min_new_tokens: int, eos_token_id: int | list[int]
    ) -> None:
        self.prompt_length_to_skip = _at_least(prompt_length_to_skip, 0, "prompt_length_to_skip")
        self.min_new_tokens = _at_least(min_new_tokens, 0, "min_new_tokens")
        self.eos_token_id = _several(eos_token_id)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores without the end, where the rows are too short."""
        new = input_ids.shape[-1] - self.prompt_length_to_skip
        return _without(scores, self.eos_token_id) if new < self.min_new_tokens else scores


class RepetitionPenaltyLogitsProcessor(LogitsProcessor):
    """Makes tokens that were said less likely: positive scores are divided, negative ones multiplied."""

    def __init__(self, penalty: float) -> None:
        self.penalty = _positive(penalty, "penalty")

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores with those of the tokens said so far changed."""
        return _scaled(scores, input_ids, self.penalty)


class EncoderRepetitionPenaltyLogitsProcessor(LogitsProcessor):
    """Makes tokens of the source more likely (a penalty above 1)."""

    def __init__(self, penalty: float, encoder_input_ids: Tensor) -> None:
        self.penalty, self.encoder_input_ids = 1 / _positive(penalty, "penalty"), encoder_input_ids

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores with those of the source's tokens changed."""
        return _scaled(scores, self.encoder_input_ids, self.penalty)


class NoRepeatNGramLogitsProcessor(LogitsProcessor):
    """No n tokens in a row twice."""

    def __init__(self, ngram_size: int) -> None:
        self.ngram_size = _at_least(ngram_size, 1, "ngram_size")

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores without what would end n tokens that were there."""
        rows = input_ids.tolist()
        return _banned(scores, [_after(row, row, self.ngram_size) for row in rows])


class EncoderNoRepeatNGramLogitsProcessor(LogitsProcessor):
    """No n tokens in a row that stand so in the source."""

    def __init__(self, encoder_ngram_size: int, encoder_input_ids: Tensor) -> None:
        self.ngram_size = _at_least(encoder_ngram_size, 1, "encoder_ngram_size")
        self.sources = torch.atleast_2d(encoder_input_ids).tolist()

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores without what would end n tokens of the source; rows of one source stand together."""
        beams = len(scores) // len(self.sources)
        pairs = ((row, self.sources[number // beams]) for number, row in enumerate(input_ids.tolist()))
        return _banned(scores, [_after(row, source, self.ngram_size) for row, source in pairs])


class SequenceBiasLogitsProcessor(LogitsProcessor):
    """Adds a number to the score of a token, or of the last token of a sequence that has begun."""

    def __init__(self, sequence_bias: Mapping[tuple[int, ...], float]) -> None:
        if not sequence_bias or not all(isinstance(key, tuple) and key for key in sequence_bias):
            raise BadSetting("sequence_bias maps tuples of tokens to numbers: {(7, 8): -2.0}.")
        self.sequence_bias = dict(sequence_bias)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores with what is due added."""
        bias = torch.zeros_like(scores)
        for sequence, value in self.sequence_bias.items():
            *begun, last = sequence
            for number, row in enumerate(input_ids.tolist()):
                if not begun or row[-len(begun) :] == begun:
                    bias[number, last] += value
        return scores + bias


class NoBadWordsLogitsProcessor(SequenceBiasLogitsProcessor):
    """Sequences of tokens that are never said; the end alone cannot be one of them."""

    def __init__(self, bad_words_ids: Sequence[Sequence[int]], eos_token_id: int | list[int]) -> None:
        ends = [[number] for number in _several(eos_token_id)]
        self.bad_word_ids = bad_words_ids
        super().__init__({tuple(word): OUT for word in bad_words_ids if list(word) not in ends})


class PrefixConstrainedLogitsProcessor(LogitsProcessor):
    """Only tokens that a function allows."""

    def __init__(
        self, prefix_allowed_tokens_fn: Callable[[int, Tensor], Iterable[int]], num_beams: int
    ) -> None:
        self._allowed, self._num_beams = prefix_allowed_tokens_fn, num_beams

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores of what is allowed for each row; ``num_beams`` rows belong to one text."""
        mask = torch.full_like(scores, OUT)
        for number, row in enumerate(input_ids):
            mask[number, list(self._allowed(number // self._num_beams, row))] = 0
        return scores + mask


class HammingDiversityLogitsProcessor(LogitsProcessor):
    """Makes tokens less likely that earlier groups of beams chose at this step."""

    def __init__(self, diversity_penalty: float, num_beams: int, num_beam_groups: int) -> None:
        self._penalty = _positive(diversity_penalty, "diversity_penalty")
        self._num_beams, self._size = (
            num_beams,
            num_beams // _at_least(num_beam_groups, 2, "num_beam_groups"),
        )

    def __call__(  # type: ignore[override]
        self, input_ids: Tensor, scores: Tensor, current_tokens: Tensor, beam_group_idx: int
    ) -> Tensor:
        """The scores of a group's rows, given what was chosen so far for all beams of each text."""
        before = beam_group_idx * self._size
        if before == 0:
            return scores
        chosen = current_tokens.view(-1, self._num_beams)[:, :before]
        counts = torch.stack([row.bincount(minlength=scores.shape[-1]) for row in chosen])
        return scores - self._penalty * counts.repeat_interleave(self._size, 0)


class ForcedBOSTokenLogitsProcessor(LogitsProcessor):
    """One token, and no other, behind the start."""

    def __init__(self, bos_token_id: int) -> None:
        self.bos_token_id = bos_token_id

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """That token alone, at the first step."""
        return _only(scores, [self.bos_token_id]) if input_ids.shape[-1] == 1 else scores


class ForcedEOSTokenLogitsProcessor(LogitsProcessor):
    """The end, and nothing else, where ``max_length`` is reached."""

    def __init__(self, max_length: int, eos_token_id: int | list[int]) -> None:
        self.max_length, self.eos_token_id = max_length, _several(eos_token_id)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The end alone, at the last step."""
        return _only(scores, self.eos_token_id) if input_ids.shape[-1] == self.max_length - 1 else scores


class ForceTokensLogitsProcessor(LogitsProcessor):
    """Certain tokens at certain places."""

    def __init__(self, force_token_map: Iterable[Sequence[int]]) -> None:
        self.force_token_map: dict[int, int] = {first: second for first, second in force_token_map}  # noqa: C416

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The token of this place alone, where there is one."""
        token = self.force_token_map.get(input_ids.shape[-1])
        return scores if token is None else _only(scores, [token])


class SuppressTokensLogitsProcessor(LogitsProcessor):
    """Tokens that are never said."""

    def __init__(self, suppress_tokens: Iterable[int]) -> None:
        self.suppress_tokens = list(suppress_tokens)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores without them."""
        return _without(scores, self.suppress_tokens)


class SuppressTokensAtBeginLogitsProcessor(LogitsProcessor):
    """Tokens that are not said at one place."""

    def __init__(self, begin_suppress_tokens: Iterable[int], begin_index: int) -> None:
        self.begin_suppress_tokens, self.begin_index = list(begin_suppress_tokens), begin_index

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores without them, at that place."""
        return (
            _without(scores, self.begin_suppress_tokens)
            if input_ids.shape[1] == self.begin_index
            else scores
        )


class InfNanRemoveLogitsProcessor(LogitsProcessor):
    """Puts numbers where there are none: 0 for NaN, the largest and smallest that the type has."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores, all of them finite."""
        return torch.nan_to_num(scores, nan=0.0)


class ExponentialDecayLengthPenalty(LogitsProcessor):
    """Makes the end more likely, the more the longer a row is behind a start."""

    def __init__(
        self,
        exponential_decay_length_penalty: tuple[int, float],
        eos_token_id: int | list[int],
        input_ids_seq_length: int,
    ) -> None:
        start, self.regulation_factor = exponential_decay_length_penalty
        self.regulation_start = start + input_ids_seq_length
        self.eos_token_id = _several(eos_token_id)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores with those of the end raised."""
        beyond = input_ids.shape[-1] - self.regulation_start
        if beyond <= 0:
            return scores
        scores = scores.clone()
        ends = scores[:, self.eos_token_id]
        scores[:, self.eos_token_id] = ends + ends.abs() * (self.regulation_factor**beyond - 1)
        return scores


class LogitNormalization(LogitsWarper):
    """Turns scores into log probabilities."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores after a log softmax."""
        return scores.log_softmax(-1)


def _takes_more(processor: Any) -> bool:
    return isinstance(processor, HammingDiversityLogitsProcessor)


def _several(numbers: int | Sequence[int]) -> list[int]:
    return [numbers] if isinstance(numbers, int) else list(numbers)


def _at_least(value: Any, least: int, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise BadSetting(f"{name}={value!r} is no whole number from {least} on.")
    return value


def _positive(value: Any, name: str) -> float:
    if not isinstance(value, int | float) or not value > 0:
        raise BadSetting(f"{name}={value!r} is no number above 0.")
    return float(value)


def _without(scores: Tensor, tokens: Sequence[int]) -> Tensor:
    return scores.index_fill(-1, torch.tensor(tokens, device=scores.device), OUT)


def _only(scores: Tensor, tokens: Sequence[int]) -> Tensor:
    return torch.full_like(scores, OUT).index_fill(-1, torch.tensor(tokens, device=scores.device), 0.0)


def _scaled(scores: Tensor, tokens: Tensor, penalty: float) -> Tensor:
    own = scores.gather(1, tokens)
    return scores.scatter(1, tokens, torch.where(own < 0, own * penalty, own / penalty))


def _banned(scores: Tensor, tokens: Sequence[list[int]]) -> Tensor:
    scores = scores.clone()
    for row, banned in zip(scores, tokens):
        row[banned] = OUT
    return scores


def _after(row: list[int], text: list[int], size: int) -> list[int]:
    """What stands in a text behind the last ``size`` - 1 tokens of a row."""
    if size > 1 and len(row) < size - 1:
        return []
    begun = row[len(row) - size + 1 :]
    places = range(len(text) - size + 1)
    return [text[place + size - 1] for place in places if text[place : place + size - 1] == begun]
