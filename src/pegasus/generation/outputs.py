"""What ``generate`` returns with ``return_dict_in_generate``, under the names of transformers 4.34.

The records of beam search always carry ``sequences_scores`` and ``beam_indices`` (4.34 fills them only with
``output_scores``), and every record ends in two fields of ours: ``finished`` and, for searches along one
line, ``sequences_scores``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pegasus.spec.outputs import ModelOutput

_Layers = tuple[tuple[Any, ...], ...]


@dataclass(eq=False, repr=True)
class GreedySearchEncoderDecoderOutput(ModelOutput):
    """What a search along one line returns (greedy, sampling, contrastive).

    Attributes:
        sequences: [N, T], the start token, what was said, padding.
        scores: one [rows, V] per new token: the scores after all processors, with ``output_scores``.
        encoder_attentions: one [B, H, S, S] a layer, with ``output_attentions``.
        encoder_hidden_states: [B, S, D] of the embeddings and each layer, with ``output_hidden_states``.
        decoder_attentions: per new token, one [rows, H, 1, T] a layer.
        cross_attentions: per new token, one [rows, H, 1, S] a layer.
        decoder_hidden_states: per new token, [rows, 1, D] of the embeddings and of each layer.
        sequences_scores: [N], the sum of the log-probabilities of what was said.
        finished: [N], whether it ended in EOS rather than at a limit.
        logits: one per new token, as ``scores`` but before any processor, with ``output_logits``.
        prevented: [B], how often the likeliest token of a text's rows was refused (``faithful``).
    """

    sequences: Any = None
    scores: tuple[Any, ...] | None = None
    encoder_attentions: tuple[Any, ...] | None = None
    encoder_hidden_states: tuple[Any, ...] | None = None
    decoder_attentions: _Layers | None = None
    cross_attentions: _Layers | None = None
    decoder_hidden_states: _Layers | None = None
    sequences_scores: Any = None
    finished: Any = None
    logits: tuple[Any, ...] | None = None
    prevented: Any = None


@dataclass(eq=False, repr=True)
class GreedySearchDecoderOnlyOutput(ModelOutput):
    """The same for the decoder alone; ``attentions`` and ``hidden_states`` are the decoder's."""

    sequences: Any = None
    scores: tuple[Any, ...] | None = None
    attentions: _Layers | None = None
    hidden_states: _Layers | None = None
    sequences_scores: Any = None
    finished: Any = None
    logits: tuple[Any, ...] | None = None
    prevented: Any = None


@dataclass(eq=False, repr=True)
class BeamSearchEncoderDecoderOutput(ModelOutput):
    """What a search with beams returns.

    Attributes:
        sequences: [N, T], the start token, what was said, padding.
        sequences_scores: [N], the sum of the log-probabilities divided by the length normalization.
        scores: one [B · M, V] per new token: log-probabilities after processors, with ``output_scores``.
        beam_indices: [N, T], from which row (text · M + beam) each new token came; −1 after the end.
        encoder_attentions: one [B, H, S, S] a layer, with ``output_attentions``.
        encoder_hidden_states: [B, S, D] of the embeddings and each layer, with ``output_hidden_states``.
        decoder_attentions: per new token, one [B · M, H, 1, T] a layer.
        cross_attentions: per new token, one [B · M, H, 1, S] a layer.
        decoder_hidden_states: per new token, [B · M, 1, D] of the embeddings and of each layer.
        finished: [N], whether it ended in EOS rather than at a limit.
        logits: one per new token, as ``scores`` but before any processor, with ``output_logits``.
        prevented: [B], how often the likeliest token of a text's rows was refused (``faithful``).
    """

    sequences: Any = None
    sequences_scores: Any = None
    scores: tuple[Any, ...] | None = None
    beam_indices: Any = None
    encoder_attentions: tuple[Any, ...] | None = None
    encoder_hidden_states: tuple[Any, ...] | None = None
    decoder_attentions: _Layers | None = None
    cross_attentions: _Layers | None = None
    decoder_hidden_states: _Layers | None = None
    finished: Any = None
    logits: tuple[Any, ...] | None = None
    prevented: Any = None


@dataclass(eq=False, repr=True)
class BeamSearchDecoderOnlyOutput(ModelOutput):
    """The same for the decoder alone; ``attentions`` and ``hidden_states`` are the decoder's."""

    sequences: Any = None
    sequences_scores: Any = None
    scores: tuple[Any, ...] | None = None
    beam_indices: Any = None
    attentions: _Layers | None = None
    hidden_states: _Layers | None = None
    finished: Any = None
    logits: tuple[Any, ...] | None = None
    prevented: Any = None


class SampleEncoderDecoderOutput(GreedySearchEncoderDecoderOutput):
    """What sampling returns."""


class SampleDecoderOnlyOutput(GreedySearchDecoderOnlyOutput):
    """What sampling returns for the decoder alone."""


class ContrastiveSearchEncoderDecoderOutput(GreedySearchEncoderDecoderOutput):
    """What contrastive search returns."""


class ContrastiveSearchDecoderOnlyOutput(GreedySearchDecoderOnlyOutput):
    """What contrastive search returns for the decoder alone."""


class BeamSampleEncoderDecoderOutput(BeamSearchEncoderDecoderOutput):
    """What sampling with beams returns."""


class BeamSampleDecoderOnlyOutput(BeamSearchDecoderOnlyOutput):
    """What sampling with beams returns for the decoder alone."""
