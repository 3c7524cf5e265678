"""Packed weights computed by PyTorch, for machines on which the native library was not built.

Matrices in half precision are kept as float32 here: they are rounded, the arithmetic is not. int8 rounds as
the library does.

Axes: B texts, R rows (texts × beams), N tokens of all texts one behind the other, S source, T new tokens,
P positions, H heads, E head width, D model, V vocabulary, L layers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pegasus.backends.packed.engine import packer_of
from pegasus.backends.packed.rows import RowPacker, quantize
from pegasus.backends.torch.edits import best
from pegasus.backends.torch.layers import ACTIVATIONS
from pegasus.backends.torch.packed_linear import FloatLinear, WholeLinear, tensor
from pegasus.errors import BadSetting, NotOffered

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from pegasus.backends.packed.native.records import Linear
    from pegasus.backends.packed.weights import PackedWeights

_FEW = ("decoder.", "head")


def start(weights: PackedWeights, threads: int) -> TorchEngine:
    """PyTorch computes with these weights, over so many threads."""
    torch.set_num_threads(threads)
    return TorchEngine(weights)


class TorchEngine:
    """The model as plain functions of tensors; see ``backends.packed.engine`` for what each does."""

    def __init__(self, weights: PackedWeights) -> None:
        self.config = weights.config
        self.linears = {name: _linear(name, one, weights.layout) for name, one in weights.linears.items()}
        self.embedding_VD = _table(weights)
        self.vectors = {name: tensor(one) for name, one in weights.vectors.items()}
        self.activation = ACTIVATIONS[self.config.activation_function]
        self.scale = math.sqrt(self.config.d_model) if self.config.scale_embedding else 1.0
        self.tables: dict[str, Tensor] = {}

    def set_positions(self, encoder_SD: np.ndarray | None, decoder_TD: np.ndarray | None) -> None:
        """Set the tables of positions; None leaves one as it is."""
        for side, table in (("encoder", encoder_SD), ("decoder", decoder_TD)):
            if table is not None:
                self.tables[side] = tensor(table)

    @torch.inference_mode()
    def encode(self, ids_N: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """The encoder's final states, float32 [N, D]."""
        places_N = np.concatenate([np.arange(count) for count in np.diff(offsets)])
        states_ND = self.embed(
            torch.from_numpy(ids_N.astype(np.int64)), torch.from_numpy(places_N), "encoder"
        )
        spread = Spread(offsets)
        for layer in range(self.config.encoder_layers):
            name, place = f"encoder.layers.{layer}", f"encoder.{layer}"
            qkv_N = self.linears[f"{place}.qkv"](self.norm(f"{name}.self_attn_layer_norm", states_ND))
            q, k, v = (spread.padded(part, self.heads(part)) for part in qkv_N.chunk(3, dim=1))
            mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=spread.mask)
            states_ND = states_ND + self.linears[f"{place}.out"](spread.gathered(mixed))
            states_ND = self.feed_forward(place, name, states_ND)
        found: np.ndarray = self.norm("encoder.layer_norm", states_ND).numpy()
        return found

    def open(self, states_ND: np.ndarray, offsets: np.ndarray) -> TorchDecoding:
        """A decoder that looks at these states and remembers nothing yet."""
        decoding: TorchDecoding = TorchDecoding(self, tensor(states_ND), offsets)
        return decoding

    @torch.inference_mode()
    def linear(self, name: str, x_MK: np.ndarray) -> np.ndarray:
        """What one of the packed matrices makes of some rows."""
        found: np.ndarray = self.linears[name](torch.from_numpy(x_MK)).numpy()
        return found

    # -- the parts of a layer ----------------------------------------------------------------------------

    def embed(
        self, ids: Int[Tensor, "..."], places: Int[Tensor, "..."], side: str
    ) -> Float[Tensor, "... D"]:
        """Embeddings of tokens at their places."""
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < self.config.vocab_size:
            raise BadSetting(
                f"a token lies outside the vocabulary of {self.config.vocab_size}: found {ids.min()} to "
                f"{ids.max()}."
            )
        return self.embedding_VD[ids] * self.scale + self.tables[side][places]

    def norm(self, name: str, states: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """One of the layer norms."""
        scale, shift = self.vectors[f"{name}.weight"], self.vectors[f"{name}.bias"]
        return functional.layer_norm(states, scale.shape, scale, shift, self.config.layer_norm_eps)

    def feed_forward(self, place: str, name: str, states_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """The second half of a layer."""
        hidden_NF = self.linears[f"{place}.fc1"](self.norm(f"{name}.final_layer_norm", states_ND))
        return states_ND + self.linears[f"{place}.fc2"](self.activation(hidden_NF))

    def heads(self, part: Tensor, side: str = "encoder") -> int:
        """How many heads a projection of this width has."""
        count = (
            self.config.decoder_attention_heads
            if side == "decoder"
            else self.config.encoder_attention_heads
        )
        return int(part.shape[-1] // (self.config.d_model // count))


class Spread:
    """Texts one behind the other, spread out for attention: [N, ...] ↔ [B, H, S, E] with padding behind.

    Attributes:
        mask: [B, 1, 1, S], which places hold a token; None where no text is shorter than another.
    """

    def __init__(self, offsets: np.ndarray) -> None:
        lengths_B = torch.from_numpy(np.diff(offsets))
        self.shape = (len(lengths_B), int(lengths_B.max()))
        held_BS = torch.arange(self.shape[1]) < lengths_B[:, None]
        self.places_N = held_BS.reshape(-1).nonzero()[:, 0]
        self.mask = None if bool(held_BS.all()) else held_BS[:, None, None, :]

    def padded(self, states: Float[Tensor, "N I"], heads: int) -> Float[Tensor, "B H S E"]:
        """With padding, by heads."""
        spread = states.new_zeros(self.shape[0] * self.shape[1], states.shape[1])
        spread[self.places_N] = states
        return spread.view(*self.shape, heads, -1).transpose(1, 2)

    def gathered(self, mixed: Float[Tensor, "B H S E"]) -> Float[Tensor, "N I"]:
        """Without padding again."""
        return mixed.transpose(1, 2).reshape(self.shape[0] * self.shape[1], -1)[self.places_N]


class TorchDecoding:
    """A decoder with its memory: keys and values of a text once, those of its rows moved by index."""

    @torch.inference_mode()
    def __init__(self, engine: TorchEngine, states_ND: Float[Tensor, "N D"], offsets: np.ndarray) -> None:
        self.engine, self.length = engine, 0
        spread = Spread(offsets)
        self.mask, self.texts = spread.mask, spread.shape[0]
        self.cross: list[tuple[Tensor, Tensor]] = []
        for layer in range(engine.config.decoder_layers):
            parts = engine.linears[f"decoder.{layer}.cross_kv"](states_ND).chunk(2, dim=1)
            keys, values = (spread.padded(part, engine.heads(part, "decoder")) for part in parts)
            self.cross.append((keys, values))
        #: Per layer keys and values [R, H, T, E].
        self.memory: list[tuple[Tensor, Tensor]] = []
        self.logits_NV = torch.empty(0, 0)

    @torch.inference_mode()
    def step(
        self,
        tokens_RT: np.ndarray,
        parents_R: np.ndarray | None = None,
        texts_B: np.ndarray | None = None,
        keep: int | None = None,
        positions: int = 1,
        hidden: bool = False,
    ) -> np.ndarray | None:
        """Reads tokens."""
        self._remember(parents_R, texts_B, keep)
        rows, new = tokens_RT.shape
        places_T = torch.arange(self.length, self.length + new)
        states = self.engine.embed(torch.from_numpy(np.ascontiguousarray(tokens_RT)), places_T, "decoder")
        mask_TS = (
            torch.ones(new, self.length + new, dtype=torch.bool).tril(self.length) if new > 1 else None
        )
        states_ND = states.reshape(rows * new, -1)
        for layer in range(self.engine.config.decoder_layers):
            states_ND = self._layer(layer, states_ND, rows, mask_TS)
        self.length += new
        states_RTD = self.engine.norm("decoder.layer_norm", states_ND).view(rows, new, -1)
        last_ND = states_RTD[:, new - positions :].reshape(rows * positions, -1)
        self.logits_NV = self.engine.linears["head"](last_ND)
        return states_RTD.numpy() if hidden else None

    def scores(self) -> TorchScores:
        """The logits of the last step where they lie."""
        return TorchScores(self.logits_NV)

    def copied(self, rows_N: np.ndarray | None = None) -> TorchScores:
        """A copy of some rows of them."""
        rows = slice(None) if rows_N is None else torch.from_numpy(np.ascontiguousarray(rows_N))
        return TorchScores(self.logits_NV[rows].clone())

    def _remember(self, parents_R: np.ndarray | None, texts_B: np.ndarray | None, keep: int | None) -> None:
        if keep is not None and self.memory:
            self.memory = [(keys[:, :, :keep], values[:, :, :keep]) for keys, values in self.memory]
            self.length = keep
        if parents_R is not None and self.memory:
            rows = torch.from_numpy(np.ascontiguousarray(parents_R))
            self.memory = [(keys[rows], values[rows]) for keys, values in self.memory]
        if texts_B is not None:
            texts = torch.from_numpy(np.ascontiguousarray(texts_B))
            self.cross = [(keys[texts], values[texts]) for keys, values in self.cross]
            self.mask = None if self.mask is None else self.mask[texts]
            self.texts = len(texts)

    def _layer(
        self, layer: int, states_ND: Float[Tensor, "N D"], rows: int, mask_TS: Tensor | None
    ) -> Float[Tensor, "N D"]:
        engine, name, place = self.engine, f"decoder.layers.{layer}", f"decoder.{layer}"
        linears = engine.linears
        qkv = linears[f"{place}.qkv"](engine.norm(f"{name}.self_attn_layer_norm", states_ND))
        parts = (part.reshape(rows, -1, part.shape[1]) for part in qkv.chunk(3, dim=1))
        q, k, v = (part.unflatten(2, (engine.heads(part, "decoder"), -1)).transpose(1, 2) for part in parts)
        if len(self.memory) > layer:
            old_k, old_v = self.memory[layer]
            k, v = torch.cat([old_k, k], dim=2), torch.cat([old_v, v], dim=2)
            self.memory[layer] = (k, v)
        else:
            self.memory.append((k, v))
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask_TS)
        states_ND = states_ND + linears[f"{place}.out"](mixed.transpose(1, 2).reshape(len(states_ND), -1))
        q_ND = linears[f"{place}.cross_q"](engine.norm(f"{name}.encoder_attn_layer_norm", states_ND))
        states_ND = states_ND + linears[f"{place}.cross_out"](self._look(layer, q_ND))
        return engine.feed_forward(place, name, states_ND)

    def _look(self, layer: int, q_ND: Float[Tensor, "N I"]) -> Float[Tensor, "N I"]:
        """Cross-attention, the rows of a text folded into its query length."""
        heads = self.engine.heads(q_ND, "decoder")
        q = q_ND.reshape(self.texts, -1, heads, q_ND.shape[1] // heads).transpose(1, 2)
        keys, values = self.cross[layer]
        mixed = functional.scaled_dot_product_attention(q, keys, values, attn_mask=self.mask)
        return mixed.transpose(1, 2).reshape(q_ND.shape)


class TorchScores:
    """Scores in a tensor on the host; ``native.engine.Scores`` describes each question."""

    def __init__(self, scores_NV: Float[Tensor, "N V"]) -> None:
        self.tensor, self.rows = scores_NV, len(scores_NV)

    def view(self) -> np.ndarray:
        """The numbers where they lie."""
        numbers: np.ndarray = self.tensor.numpy()
        return numbers

    def changed(self) -> None:
        """Nothing was remembered, so nothing is forgotten."""

    def get(self, rows_K: np.ndarray, tokens_K: np.ndarray) -> np.ndarray:
        """Single numbers."""
        return np.asarray(self.view()[rows_K, tokens_K])

    def put(self, rows_K: np.ndarray, tokens_K: np.ndarray, values_K: np.ndarray | float) -> None:
        """Changes single numbers."""
        self.view()[rows_K, tokens_K] = values_K

    def fill(self, rows_K: np.ndarray, value: float) -> None:
        """One number for all tokens of some rows."""
        self.view()[rows_K] = value

    def logsumexp(self) -> np.ndarray:
        """log Σ exp of each row."""
        found: np.ndarray = torch.logsumexp(self.tensor, dim=1).numpy()
        return found

    def log_softmax(self) -> None:
        """Makes log-probabilities of all rows."""
        self.tensor = torch.log_softmax(self.tensor, dim=1)

    def best(
        self, count: int, rows_K: np.ndarray | None = None, shift_K: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best tokens of each row, largest first."""
        scores = self.tensor if rows_K is None else self.tensor[torch.from_numpy(rows_K)]
        values_KC, tokens_KC = best(scores, count)
        values: np.ndarray = values_KC.numpy()
        return values if shift_K is None else values - shift_K[:, None], tokens_KC.numpy()


def _linear(name: str, linear: Linear, layout: str) -> FloatLinear | WholeLinear:
    packer = packer_of(layout)
    if packer is None:
        raise NotOffered(f"packed weights in the layout {layout!r} are not known: pack them again.")
    if linear.scale_N is not None and isinstance(packer, RowPacker):
        values = linear.weights.view(np.int8).reshape(linear.outputs, linear.inputs)
        return WholeLinear(values, linear.scale_N, linear.bias_N)
    weights_NK = packer.unpack(linear)
    if linear.kind == "int8":
        return WholeLinear(*quantize(weights_NK), linear.bias_N)
    return FloatLinear(weights_NK, linear.bias_N, name.startswith(_FEW) and not name.endswith("cross_kv"))


def _table(weights: PackedWeights) -> Float[Tensor, "V D"]:
    packer = packer_of(weights.layout)
    assert packer is not None
    return tensor(packer.unpack(weights.embedding))
