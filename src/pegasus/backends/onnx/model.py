"""An exported model that generates: ONNX Runtime computes, the search is everybody's.

Axes: B texts, M beams of each, R rows, S source, T new tokens, P places remembered, H heads, E head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime

from pegasus.errors import BadSetting, CheckpointCorrupt, CheckpointNotFound, NotOffered
from pegasus.generation.generate import GenerationMixin
from pegasus.generation.model_inputs import Request
from pegasus.generation.session import HostScores, Reading, Step
from pegasus.hub import locate
from pegasus.spec.config import PegasusConfig

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
_REFUSED = (
    *("inputs_embeds", "head_mask", "decoder_head_mask", "cross_attn_head_mask", "past_key_values"),
    *("decoder_attention_mask", "encoder_outputs"),
)
_NOTHING = Reading()


class OnnxModel(GenerationMixin):
    """An exported ``PegasusForConditionalGeneration``.

    Args:
        config: its configuration.
        encoder: tokens → states, keys and values.
        decoder: one step.
    """

    kind, device = "conditional", "cpu"

    def __init__(self, config: PegasusConfig, encoder: Any, decoder: Any) -> None:
        self.config, self.encoder, self.decoder = config, encoder, decoder
        self.dtype = "float32"

    @classmethod
    def from_pretrained(cls, name: str | Path) -> Self:
        """The model of a folder or a hub repository that holds exported files."""
        return cls.from_folder(locate(name))

    @classmethod
    def from_folder(cls, folder: Path, threads: int | None = None) -> Self:
        """Opens both files.

        Raises:
            CheckpointNotFound: a file is missing.
            CheckpointCorrupt: ONNX Runtime cannot read one.
        """
        missing = [name for name in (ENCODER, DECODER, "config.json") if not (folder / name).is_file()]
        if missing:
            raise CheckpointNotFound(
                f"{folder} has no {' and no '.join(missing)}: make it with `pegasus export --to onnx`."
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        sessions = [_session(folder / name, options) for name in (ENCODER, DECODER)]
        model = cls(PegasusConfig.from_json_file(folder / "config.json"), *sessions)
        model._load_generation_config(folder)
        return model

    def to_host(self, native: Any) -> np.ndarray:
        """Arrays are NumPy's."""
        return np.asarray(native)

    def to_native(self, array: np.ndarray) -> np.ndarray:
        """Arrays are NumPy's."""
        return np.array(array)

    def draw_seed(self) -> int:
        """A seed from NumPy's generator."""
        return int(np.random.randint(0, 2**62))

    def open_decoder(self, request: Request) -> OnnxDecoder:
        """Encodes the sources.

        Raises:
            NotOffered: something that the exported files do not have.
            BadSetting: a text of padding alone, or one longer than the table of positions.
        """
        refused = [name for name in _REFUSED if getattr(request, name) is not None]
        refused += ["attentions or hidden states"] if request.records.any else []
        if refused:
            raise NotOffered(f"exported files have no {', '.join(refused)}: use the torch backend.")
        ids_BS = np.asarray(request.input_ids, np.int64)
        mask_BS = (
            np.ones_like(ids_BS) if request.attention_mask is None else np.asarray(request.attention_mask)
        )
        if not mask_BS.any(axis=1).all():
            raise BadSetting("a text is padding from end to end: leave it out.")
        self.require_room(ids_BS.shape[1])
        encoded = self.encoder.run(None, {"input_ids": ids_BS, "attention_mask": mask_BS.astype(np.int64)})
        return OnnxDecoder(self, mask_BS.astype(np.int64), encoded[1:])

    def require_room(self, length: int) -> None:
        """Exported files have a table of positions, which ends.

        Raises:
            BadSetting: it ends before ``length``.
        """
        if length > self.config.max_position_embeddings:
            raise BadSetting(
                f"the exported files have {self.config.max_position_embeddings:,} positions and {length:,} "
                "are needed: cut the text, or export with a larger max_position_embeddings."
            )

    def attend(self, source: Sequence[int], summary: Sequence[int]) -> np.ndarray:
        """Refused: the files return no attentions.

        Raises:
            NotOffered: always.
        """
        raise NotOffered(
            "exported files do not say where the decoder looked: use the packed or torch backend."
        )


class OnnxDecoder:
    """One step after another, over the keys and values that each returns.

    Args:
        model: whose files are run.
        mask_BS: 1 for a token, 0 for padding.
        cross: keys and values of the sources, [B, H, S, E] each.
    """

    encoded = _NOTHING

    def __init__(self, model: OnnxModel, mask_BS: np.ndarray, cross: list[np.ndarray]) -> None:
        self.model, self.mask_BS, self.cross = model, mask_BS, cross
        self.vocab_size = model.config.vocab_size
        self.length = 0
        heads = model.config.decoder_attention_heads
        empty = np.zeros((len(mask_BS), 1, heads, 0, model.config.d_model // heads), np.float32)
        #: Keys and values of the tokens read, [B, M, H, P, E] each.
        self.past: list[np.ndarray] = [empty] * len(cross)
        self.logits_NV = np.zeros((0, self.vocab_size), np.float32)

    def computing(self) -> AbstractContextManager[Any]:
        """Nothing is needed."""
        return nullcontext()

    def step(self, step: Step) -> Reading:
        """Reads tokens.

        Raises:
            NotOffered: hidden states are wanted, or some tokens may not be seen.
            BadSetting: the table of positions ends.
        """
        if step.hidden or step.mask_RT is not None:
            raise NotOffered("exported files return no hidden states and take no mask of the summary.")
        self._move(step)
        rows, tokens = step.tokens_RT.shape
        self.model.require_room(step.keep + tokens)
        texts = len(self.mask_BS)
        given = {
            "decoder_input_ids": step.tokens_RT.reshape(texts, rows // texts, tokens),
            "attention_mask": self.mask_BS,
            **_named("past", self.past),
            **_named("cross", self.cross),
        }
        logits_BMTV, *self.past = self.model.decoder.run(None, given)
        self.length = step.keep + tokens
        self.logits_NV = logits_BMTV[:, :, -step.positions :].reshape(-1, self.vocab_size)
        return _NOTHING

    def _move(self, step: Step) -> None:
        """Cuts what is remembered, lets texts go, and gives each row what its parent remembers."""
        rows, texts = len(step.tokens_RT), len(self.mask_BS)
        moved = [one[:, :, :, : step.keep] for one in self.past]
        if step.texts_B is not None:
            self.mask_BS = self.mask_BS[step.texts_B]
            self.cross = [one[step.texts_B] for one in self.cross]
            texts = len(step.texts_B)
        if step.parents_R is not None:
            beams = (texts, rows // texts)
            moved = [_rows(one)[step.parents_R].reshape(*beams, *one.shape[2:]) for one in moved]
        elif _rows(moved[0]).shape[0] != rows:  # nothing is remembered yet
            moved = [np.broadcast_to(one, (texts, rows // texts, *one.shape[2:])) for one in moved]
        self.past = [np.ascontiguousarray(one) for one in moved]

    def scores(self) -> HostScores:
        """The logits."""
        return HostScores(self.logits_NV, np.array)

    def copied(self, rows_K: np.ndarray | None) -> HostScores:
        """A copy of some rows of them."""
        return HostScores(self.logits_NV.copy() if rows_K is None else self.logits_NV[rows_K], np.array)


def _rows(array: np.ndarray) -> np.ndarray:
    return array.reshape(array.shape[0] * array.shape[1], *array.shape[2:])


def _named(word: str, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    parts = ("key", "value")
    return {f"{word}.{number // 2}.{parts[number % 2]}": array for number, array in enumerate(arrays)}


def _session(path: Path, options: Any) -> Any:
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # its errors have no common kind of their own
        first = str(problem).splitlines()[0]
        raise CheckpointCorrupt(
            f"{path} cannot be read by ONNX Runtime ({first}): export it again."
        ) from problem
