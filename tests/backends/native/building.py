"""A network for the native engine from a plain PyTorch model, without any of the packed room."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from pegasus import PegasusForConditionalGeneration
from pegasus.backends.native import library, records
from pegasus.backends.native.inference import Decoding, NativeModel
from pegasus.backends.torch.model.layers import embedding_scale
from pegasus.spec.config import PegasusConfig

#: Tokens of the four texts that most tests read.
LENGTHS = (5, 33, 1, 17)


def config(**changes: Any) -> PegasusConfig:
    """A small model of odd sizes."""
    settings = {
        "vocab_size": 97,
        "d_model": 24,
        "encoder_layers": 2,
        "decoder_layers": 3,
        "encoder_attention_heads": 3,
        "decoder_attention_heads": 3,
        "encoder_ffn_dim": 37,
        "decoder_ffn_dim": 41,
        "max_position_embeddings": 80,
        "activation_function": "relu",
        "scale_embedding": True,
        "init_std": 0.3,
    }
    return PegasusConfig(**(settings | changes))


def shake(model: torch.nn.Module, seed: int) -> None:
    """Give every bias and norm a value, so that none may be forgotten."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
        if hasattr(model, "final_logits_bias"):
            model.final_logits_bias.copy_(torch.randn(model.final_logits_bias.shape, generator=generator))


def aligned(size: int) -> np.ndarray:
    """Bytes whose first lies at a multiple of 64."""
    whole = np.zeros(size + 64, np.uint8)
    start = -whole.ctypes.data % 64
    return whole[start : start + size]


def array(tensor: torch.Tensor) -> np.ndarray:
    """The same numbers as float32."""
    return np.ascontiguousarray(tensor.detach().float().numpy())


def linear(weight: torch.Tensor, bias: torch.Tensor | None, kind: str) -> records.Linear:
    """A packed linear."""
    native = library()
    native.pg_packed_bytes.restype = ctypes.c_int64
    weight_NK = array(weight)
    outputs, inputs = weight_NK.shape
    code = records.KINDS.index(kind)
    packed = aligned(native.pg_packed_bytes(code, outputs, inputs))
    scale_N, sums_N = np.zeros(outputs, np.float32), np.zeros(outputs, np.int32)
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (weight_NK, packed, scale_N, sums_N)]
    native.pg_pack(code, outputs, inputs, *pointers, 1)
    bias_N = None if bias is None else array(bias)
    return records.Linear(kind, outputs, inputs, packed, scale_N, sums_N, bias_N)


def _norm(layer: Any) -> records.Norm:
    return records.Norm(array(layer.weight), array(layer.bias))


def _stacked(layers: list[Any], kind: str) -> records.Linear:
    return linear(torch.cat([x.weight for x in layers]), torch.cat([x.bias for x in layers]), kind)


def _encoder_layer(layer: Any, kind: str) -> records.EncoderLayer:
    own = layer.self_attn
    return records.EncoderLayer(
        own.num_heads,
        _norm(layer.self_attn_layer_norm),
        _stacked([own.q_proj, own.k_proj, own.v_proj], kind),
        linear(own.out_proj.weight, own.out_proj.bias, kind),
        _norm(layer.final_layer_norm),
        linear(layer.fc1.weight, layer.fc1.bias, kind),
        linear(layer.fc2.weight, layer.fc2.bias, kind),
    )


def _decoder_layer(layer: Any, kind: str) -> records.DecoderLayer:
    own, cross = layer.self_attn, layer.encoder_attn
    return records.DecoderLayer(
        own.num_heads,
        cross.num_heads,
        _norm(layer.self_attn_layer_norm),
        _stacked([own.q_proj, own.k_proj, own.v_proj], kind),
        linear(own.out_proj.weight, own.out_proj.bias, kind),
        _norm(layer.encoder_attn_layer_norm),
        linear(cross.q_proj.weight, cross.q_proj.bias, kind),
        _stacked([cross.k_proj, cross.v_proj], kind),
        linear(cross.out_proj.weight, cross.out_proj.bias, kind),
        _norm(layer.final_layer_norm),
        linear(layer.fc1.weight, layer.fc1.bias, kind),
        linear(layer.fc2.weight, layer.fc2.bias, kind),
    )


def network(model: Any, kind: str = "float32", kv_kind: str | None = None) -> records.Network:
    """The whole of a ``PegasusForConditionalGeneration``."""
    settings = model.config
    head = linear(model.lm_head.weight, model.final_logits_bias[0], kind)
    return records.Network(
        settings.d_model,
        settings.vocab_size,
        settings.d_model // settings.encoder_attention_heads,
        settings.d_model // settings.decoder_attention_heads,
        settings.activation_function,
        kv_kind or {"int8": "bfloat16"}.get(kind, kind),
        embedding_scale(settings),
        settings.layer_norm_eps,
        tuple(_encoder_layer(layer, kind) for layer in model.get_encoder().layers),
        tuple(_decoder_layer(layer, kind) for layer in model.get_decoder().layers),
        _norm(model.get_encoder().layer_norm),
        _norm(model.get_decoder().layer_norm),
        head,
        head,
    )


def make(kind: str = "float32", threads: int = 2, **changes: Any) -> tuple[Any, NativeModel]:
    torch.manual_seed(7)
    model = PegasusForConditionalGeneration(config(**changes)).eval()
    shake(model, 1)
    return model, start(model, kind, threads)


def start(model: Any, kind: str = "float32", threads: int = 2, kv_kind: str | None = None) -> NativeModel:
    engine = NativeModel(network(model, kind, kv_kind), threads)
    encoder, decoder = model.get_position_embeddings()
    engine.set_positions(array(encoder.weight), array(decoder.weight))
    return engine


def texts(model: Any, lengths: tuple[int, ...] = LENGTHS) -> tuple[np.ndarray, np.ndarray]:
    ids = np.random.default_rng(3).integers(1, model.config.vocab_size, sum(lengths))
    return ids, np.cumsum([0, *lengths])


def encoded(model: Any, ids: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        parts = [
            model.get_encoder()(torch.from_numpy(one[None]))[0][0] for one in np.split(ids, offsets[1:-1])
        ]
    return torch.cat(parts).numpy()


class Reference:
    """The plain decoder, which reads the whole history of a row each time it is asked."""

    def __init__(self, model: Any, states: np.ndarray, offsets: np.ndarray) -> None:
        self.model = model
        self.states = np.split(states, offsets[1:-1])
        self.history: list[list[int]] = []

    def step(
        self,
        tokens: np.ndarray,
        parents: np.ndarray | None = None,
        remaining: np.ndarray | None = None,
        keep: int | None = None,
        positions: int = 1,
    ) -> tuple[np.ndarray, np.ndarray]:
        old = self.history if keep is None else [row[:keep] for row in self.history]
        if not old:
            old = [[] for _ in tokens]
        if parents is not None:
            old = [old[parent] for parent in parents]
        if remaining is not None:
            self.states = [self.states[text] for text in remaining]
        self.history = [row + list(new) for row, new in zip(old, tokens)]
        hidden = []
        for number, row in enumerate(self.history):
            states = self.states[number // (len(tokens) // len(self.states))]
            read = self.model.get_decoder()(
                torch.tensor([row]), encoder_hidden_states=torch.from_numpy(states[None]), use_cache=False
            )
            hidden.append(read[0][0, -tokens.shape[1] :])
        states_RTD = torch.stack(hidden)
        logits = self.model.lm_head(states_RTD[:, -positions:]) + self.model.final_logits_bias
        return logits.reshape(-1, logits.shape[-1]).numpy(), states_RTD.numpy()


def conversation(vocabulary: int) -> Iterator[dict[str, Any]]:
    """A prompt of three tokens for 4 texts of 2 rows, and all that may come after."""
    rng = np.random.default_rng(11)

    def words(rows: int, count: int = 1) -> np.ndarray:
        return rng.integers(0, vocabulary, (rows, count))

    yield {"tokens": words(8, 3), "positions": 2}
    yield {"tokens": words(8)}
    yield {"tokens": words(8), "parents": np.array([1, 1, 2, 3, 5, 4, 7, 7])}
    yield {"tokens": words(8, 4), "positions": 4, "parents": np.array([0, 0, 3, 2, 4, 4, 6, 7])}
    yield {"tokens": words(8, 2), "keep": 6, "positions": 1}
    # The second and third texts are finished; the rest change places.
    yield {"tokens": words(4), "parents": np.array([7, 6, 0, 1]), "remaining": np.array([3, 0])}
    for _ in range(3):
        parents = np.concatenate([rng.integers(0, 2, 2), rng.integers(2, 4, 2)])
        yield {"tokens": words(4), "parents": parents}
    # Texts may have more rows than before.
    yield {"tokens": words(6), "parents": np.array([0, 1, 1, 3, 2, 2])}
    yield {"tokens": words(3), "parents": np.array([3, 4, 5]), "remaining": np.array([1]), "keep": 7}
    yield {"tokens": words(3, 20), "positions": 20}


def ask(decoding: Decoding, turn: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    turn = dict(turn)
    hidden = decoding.step(
        turn["tokens"],
        turn.get("parents"),
        turn.get("remaining"),
        turn.get("keep"),
        turn.get("positions", 1),
        hidden=True,
    )
    assert hidden is not None
    return decoding.scores().view().copy(), hidden
