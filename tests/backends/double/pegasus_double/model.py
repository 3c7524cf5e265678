"""The model of the double: weights out of any checkpoint, a decoder that reads all again each time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from pegasus.checkpoint.formats import open_checkpoint
from pegasus.checkpoint.report import fit
from pegasus.errors import NotOffered
from pegasus.generation.generate import GenerationMixin
from pegasus.generation.model_inputs import Request
from pegasus.generation.session import HostScores, Reading, Step
from pegasus.hub import locate
from pegasus.spec.config import PegasusConfig
from pegasus_double.transformer import Pass, Transformer

REFUSED = ("inputs_embeds", "head_mask", "decoder_head_mask", "cross_attn_head_mask", "past_key_values")


class DoubleModel(GenerationMixin):
    """PEGASUS for inference."""

    kind, device, dtype = "conditional", "cpu", "float64"

    def __init__(self, config: PegasusConfig, parameters: dict[str, np.ndarray]) -> None:
        self.config, self.transformer = config, Transformer(config, parameters)

    @classmethod
    def from_pretrained(cls, name: str | Path) -> DoubleModel:
        folder = locate(name)
        config = PegasusConfig.from_json_file(folder / "config.json")
        fitted = fit(open_checkpoint(folder).tensors, config, "conditional")
        assert not fitted.report.lines(), fitted.report.lines()
        model = cls(config, {name: raw.array() for name, raw in fitted.arrays()})
        model._load_generation_config(folder)
        return model

    def to_host(self, native: Any) -> np.ndarray:
        return np.asarray(native)

    def to_native(self, array: np.ndarray) -> np.ndarray:
        return np.array(array)

    def draw_seed(self) -> int:
        return int(np.random.randint(0, 2**62))

    def open_decoder(self, request: Request) -> DoubleDecoder:
        refused = [name for name in REFUSED if getattr(request, name) is not None]
        if refused:
            raise NotOffered(f"the double does not offer {', '.join(refused)}.")
        if request.encoder_outputs is not None:
            encoded = [Pass(np.asarray(one, float)) for one in request.encoder_outputs[0]]
            mask_BS = np.ones(np.shape(request.encoder_outputs[0])[:2])
        else:
            mask_BS = np.ones(np.shape(request.input_ids))
        mask_BS = mask_BS if request.attention_mask is None else np.asarray(request.attention_mask)
        if request.encoder_outputs is None:
            encoded = [
                self.transformer.encode(ids, mask)
                for ids, mask in zip(np.asarray(request.input_ids), mask_BS)
            ]
        return DoubleDecoder(self.transformer, request.records, encoded, mask_BS)

    def attend(self, source: Sequence[int], summary: Sequence[int]) -> np.ndarray:
        mask_S = np.ones(len(source))
        states_SD = self.transformer.encode(np.array(source), mask_S).states
        read = np.array([self.config.decoder_start_token_id, *summary[:-1]])
        done = self.transformer.decode(read, np.ones(len(read)), states_SD, mask_S)
        return np.mean([weights.mean(axis=0) for weights in done.cross], axis=0).astype(np.float32)


class DoubleDecoder:
    """Remembers the tokens of every row, and nothing else."""

    def __init__(self, transformer: Transformer, records: Any, encoded: list[Pass], mask_BS: Any) -> None:
        self.transformer, self.records = transformer, records
        self.vocab_size = transformer.config.vocab_size
        self.sources = [(one.states, mask) for one, mask in zip(encoded, mask_BS)]
        self.tokens: list[np.ndarray] = []
        self.logits_NV = np.zeros((0, self.vocab_size), np.float32)
        self.encoded = Reading()
        if records.any and encoded[0].hidden:
            self.encoded = Reading(
                attentions=stacked([one.attentions for one in encoded]),
                hidden_states=stacked([one.hidden for one in encoded]),
            )

    @property
    def length(self) -> int:
        return len(self.tokens[0]) if self.tokens else 0

    def computing(self) -> Any:
        return nullcontext()

    def step(self, step: Step) -> Reading:
        before = [tokens[: step.keep] for tokens in self.tokens] or [np.zeros(0, np.int64)] * len(
            step.tokens_RT
        )
        if step.parents_R is not None:
            before = [before[parent] for parent in step.parents_R]
        if step.texts_B is not None:
            self.sources = [self.sources[text] for text in step.texts_B]
        self.tokens = [np.concatenate([old, new]) for old, new in zip(before, step.tokens_RT, strict=True)]
        beams, new = len(self.tokens) // len(self.sources), step.tokens_RT.shape[1]
        masks = np.ones((len(self.tokens), self.length)) if step.mask_RT is None else step.mask_RT
        done = [
            self.transformer.decode(tokens, mask, *self.sources[row // beams])
            for row, (tokens, mask) in enumerate(zip(self.tokens, masks, strict=True))
        ]
        read = [self.transformer.logits(one.states[-step.positions :]) for one in done]
        self.logits_NV = np.concatenate(read).astype(np.float32)
        return Reading(
            np.stack([one.states[-new:] for one in done]).astype(np.float32) if step.hidden else None,
            stacked([[a[:, -new:] for a in one.attentions] for one in done]),
            stacked([[a[:, -new:] for a in one.cross] for one in done]),
            stacked([[h[-new:] for h in one.hidden] for one in done]),
        )

    def scores(self) -> HostScores:
        return HostScores(self.logits_NV, np.array)

    def copied(self, rows_K: np.ndarray | None) -> HostScores:
        return HostScores(self.logits_NV.copy() if rows_K is None else self.logits_NV[rows_K], np.array)


def stacked(rows: list[list[np.ndarray]]) -> tuple[np.ndarray, ...]:
    """From row and layer to layer and row."""
    return tuple(np.stack(layer).astype(np.float32) for layer in zip(*rows))
