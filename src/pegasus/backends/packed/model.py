"""The model that summarizes, for inference only: packed weights, the library, and ``generate``."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from pegasus.backends.packed.attribution import Attribution
from pegasus.backends.packed.decoder import PackedDecoder
from pegasus.backends.packed.folder import save_packed
from pegasus.backends.packed.layouts import packer_of
from pegasus.backends.packed.network import start
from pegasus.backends.packed.opening import open_weights
from pegasus.backends.packed.positions import Positions
from pegasus.backends.threads import threads_for
from pegasus.errors import BadSetting, NotOffered, UnsupportedArgument
from pegasus.generation.generate import GenerationMixin
from pegasus.generation.model_inputs import Request
from pegasus.hub import HubOptions, locate

if TYPE_CHECKING:
    from pegasus.backends.packed.weights import PackedWeights
    from pegasus.generation.config import GenerationConfig

_OPENING = threading.RLock()  # held while a copy is opened: two threads may use it first
_PLAIN = "PegasusForConditionalGeneration has it."


class PackedModel(GenerationMixin):
    """PEGASUS with packed weights, on a CPU. It takes and returns NumPy arrays.

    It cannot be trained, and it keeps no attentions and hidden states: what it does not offer it refuses by
    name. Texts may be generated from several threads; they wait for each other.

    Args:
        weights: the packed weights.
        generation_config: where ``generate`` starts from; None: the configuration's old fields.
        threads: how many threads compute.
        source: the folder it came from, if any.
    """

    kind: ClassVar[str] = "conditional"

    def __init__(
        self,
        weights: PackedWeights,
        generation_config: GenerationConfig | None = None,
        *,
        threads: int = 1,
        source: Path | None = None,
    ) -> None:
        self.weights, self.config, self.threads, self.source = weights, weights.config, threads, source
        if generation_config is not None:
            self.generation_config = generation_config
        self.network = start(weights, threads)
        self.positions = Positions(weights, self.network)

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        dtype: Any = "auto",
        threads: int | None = None,
        **options: Any,
    ) -> Self:
        """Open a packed folder, or pack a checkpoint while it is read.

        Args:
            name: a folder, a bundled name or a repository on the hub.
            dtype: see ``opening.open_weights``.
            threads: how many threads compute; None: as many as there are cores.
            **options: the fields of ``hub.HubOptions``.
        """
        hub = HubOptions.take(options)
        if options:
            raise UnsupportedArgument(f"{cls.__name__}.from_pretrained does not know {', '.join(options)}.")
        return cls.from_folder(locate(name, hub), dtype=dtype, threads=threads)

    @classmethod
    def from_folder(cls, folder: Path, *, dtype: Any = "auto", threads: int | None = None) -> Self:
        """``from_pretrained`` for a folder that was found already."""
        threads = threads_for(threads)
        model = cls(open_weights(folder, dtype, threads), threads=threads, source=folder)
        model._load_generation_config(folder)
        return model

    def save_packed(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder that opens without packing: weights, configuration, and the tokenizer if known."""
        save_packed(Path(folder), self.weights, self.generation_config, self.source)

    # -- copies ------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """Where it came from: a copy, or another process, opens that again when it is first used."""
        closed = self.__dict__.get("_closed")
        if closed is None:
            if self.source is None:
                raise NotOffered(
                    "A packed model that came from no folder cannot be copied: save it with save_packed, "
                    "and open that folder."
                )
            closed = (self.source.resolve(), self.weights.kind, self.threads)
        return {"closed": closed, "generation_config": self.generation_config}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Remember what to open."""
        self.__dict__["_closed"] = state["closed"]
        self.generation_config = state["generation_config"]

    def __getattr__(self, name: str) -> Any:
        """Open the folder that a copy came from; asked only for what is not there yet."""
        if "_closed" not in self.__dict__ or name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        with _OPENING:
            if "_closed" in self.__dict__:
                self._open_again(*self.__dict__["_closed"])
        return getattr(self, name)

    def _open_again(self, source: Path, dtype: str, threads: int) -> None:
        weights = open_weights(source, dtype, threads)
        del self.__dict__["_closed"]
        PackedModel.__init__(self, weights, self.generation_config, threads=threads, source=source)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: there is no forward pass to call."""
        raise NotOffered(f"Packed inference generates, and has no forward pass to call: {_PLAIN}")

    @property
    def dtype(self) -> Any:
        """How the matrices are kept: "float32", "bfloat16", "float16" or "int8"."""
        return self.weights.kind

    @property
    def device(self) -> Any:
        """Where it computes: "cpu"."""
        return "cpu"

    # -- hooks of GenerationMixin ------------------------------------------------------------------------

    def open_decoder(self, request: Request) -> PackedDecoder:
        """A decoder over the sources of this request, which are encoded here."""
        _refuse(request)
        states_ND, offsets = self._encoded(request)
        decoding = self.network.open(states_ND, offsets)
        return PackedDecoder(decoding, self.config.vocab_size, self.positions, self.to_native)

    def to_host(self, native: Any) -> np.ndarray:
        """The array itself."""
        return np.asarray(native)

    def to_native(self, array: np.ndarray) -> Any:
        """The array itself."""
        return array

    def draw_seed(self) -> int:
        """A seed from NumPy's own generator, so that ``numpy.random.seed`` decides what is sampled."""
        return int(np.random.randint(0, 2**63 - 1, dtype=np.int64))

    # -- where it looked ---------------------------------------------------------------------------------

    def attend(self, source: Sequence[int], summary: Sequence[int]) -> np.ndarray:
        """Where the decoder looked: float32 [summary tokens, source tokens], mean of layers and heads.

        Args:
            source: tokens of the source.
            summary: tokens of the summary, without the start token. Row t is the look that token t was
                written with, and sums to 1.
        """
        packer = packer_of(self.weights.layout)
        assert packer is not None
        self.positions.reach(decoder=len(summary))
        ids_1S = np.array([list(source)])
        states_SD = self.encode(ids_1S, np.ones(ids_1S.shape, dtype=bool))
        scale = math.sqrt(self.config.d_model) if self.config.scale_embedding else 1.0
        read_T = np.array([self.config.decoder_start_token_id, *summary[:-1]], dtype=np.int64)
        embedded_TD = packer.take(self.weights.embedding, read_T) * np.float32(scale)
        read = Attribution(self.weights, self.network, self.positions.tables["decoder"])
        return read.attention(states_SD, embedded_TD)

    # -- the encoder -------------------------------------------------------------------------------------

    def _encoded(self, request: Request) -> tuple[np.ndarray, np.ndarray]:
        """The states of all texts one behind the other, padding left out, and where each text begins."""
        if request.encoder_outputs is not None:
            states_BSD = self.to_host(request.encoder_outputs[0]).astype(np.float32)
            mask_BS = self._mask(request, states_BSD.shape[:2])
            return states_BSD[mask_BS], _offsets(mask_BS)
        ids_BS = self.to_host(request.input_ids)
        mask_BS = self._mask(request, ids_BS.shape)
        return self.encode(ids_BS, mask_BS), _offsets(mask_BS)

    def _mask(self, request: Request, shape: tuple[int, ...]) -> np.ndarray:
        if request.attention_mask is None:
            return np.ones(shape, dtype=bool)
        mask_BS: np.ndarray = self.to_host(request.attention_mask) != 0
        if mask_BS.shape != shape:
            raise BadSetting(f"attention_mask has the shape {mask_BS.shape} and the source {shape}.")
        empty = np.flatnonzero(~mask_BS.any(axis=1))
        if len(empty):
            raise BadSetting(f"text {empty[0]} is padding from end to end: leave it out.")
        return mask_BS

    def encode(self, ids_BS: np.ndarray, mask_BS: np.ndarray) -> np.ndarray:
        """The encoder's final states of the tokens that are not masked, float32 [N, D].

        What is masked is not computed: no token looks at it. Tokens keep their places.
        """
        offsets = _offsets(mask_BS)
        self.positions.reach(encoder=mask_BS.shape[1])
        with self.positions.lock:
            if (np.diff(mask_BS.astype(np.int8), axis=1) <= 0).all() and mask_BS[:, 0].all():
                return self.network.encode(ids_BS[mask_BS], offsets)
            texts = [self._encode_with_holes(ids, mask) for ids, mask in zip(ids_BS, mask_BS)]
            self.positions.set()
            return np.concatenate(texts)

    def _encode_with_holes(self, ids_S: np.ndarray, mask_S: np.ndarray) -> np.ndarray:
        """A text with padding in front or inside: the table holds the rows of the places that are left."""
        self.network.set_positions(self.positions.tables["encoder"][: len(mask_S)][mask_S], None)
        return self.network.encode(ids_S[mask_S], np.array([0, mask_S.sum()]))


def _offsets(mask_BS: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(mask_BS.sum(axis=1))]).astype(np.int64)


def _refuse(request: Request) -> None:
    """Raises ``NotOffered`` for what only the plain modules can do."""
    named = ("inputs_embeds", "head_mask", "decoder_head_mask", "cross_attn_head_mask", "past_key_values")
    asked = [name for name in named if getattr(request, name) is not None]
    if request.records.attentions:
        asked.append("output_attentions")
    if request.records.hidden_states:
        asked.append("output_hidden_states")
    mask = request.decoder_attention_mask
    if mask is not None and not bool((np.asarray(mask) != 0).all()):
        asked.append("a decoder_attention_mask with zeros")
    if asked:
        raise NotOffered(f"Packed inference does not offer {', '.join(asked)}: {_PLAIN}")
