"""Learning on a CPU with the native library: the loss of a batch and all gradients in one call.

PyTorch takes one operation after the other over a whole batch, most of them a walk through memory. Here
texts are learned from some at a time, each thread its own, with the intermediate numbers of one layer in
the cache and without padding. For bfloat16 on processors that multiply it (AVX-512 BF16, AMX); everything
else is left to the plain modules, of which the weights are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributed.tensor import DTensor

from pegasus.backends.native import reason
from pegasus.backends.native.batches import Texts, fits
from pegasus.backends.native.learning import NativeLearner, ShapeRecord, not_offered
from pegasus.backends.torch.model.layers import Attention, embedding_scale

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jaxtyping import Float

_TILE = 32


def reason_against(model: Any) -> str | None:
    """Why a model does not learn natively, in a few words; None when it can be."""
    if (missing := reason() or not_offered()) is not None:
        return missing
    if model.kind != "conditional":
        return "it is no encoder with a decoder"
    config, weights = model.config, list(_weights(model))
    table = model.get_input_embeddings().weight
    widths = (config.d_model, config.encoder_ffn_dim, config.decoder_ffn_dim)
    heads = {config.encoder_attention_heads, config.decoder_attention_heads}
    if model.get_output_embeddings().weight is not table:
        return "its output layer is not its embedding"
    if config.activation_function != "relu":
        return "its activation is not relu"
    if config.decoder_start != "token":
        return "its decoder starts from zeros"
    if any(width % _TILE for width in (*widths, *(config.d_model // count for count in heads))):
        return f"a width of it is no multiple of {_TILE}"
    if config.encoder_layerdrop or config.decoder_layerdrop or config.pruned_heads:
        return "it drops layers or has lost heads"
    if any(module.broadcast_dropout for module in _attentions(model)):
        return "its dropout is shared along the tokens"
    if any(not isinstance(module, nn.Linear) for module in _linears(model)):
        return "its layers have additions"
    if any(_is_elsewhere(weight) for weight in weights):
        return "its weights are not whole float32 tensors of this machine"
    return None


def _is_elsewhere(weight: Tensor) -> bool:
    plain = weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.is_contiguous()
    return isinstance(weight, DTensor) or not plain


def _attentions(model: Any) -> Iterator[Attention]:
    yield from (module for module in model.modules() if isinstance(module, Attention))


def _linears(model: Any) -> Iterator[nn.Module]:
    for attention in _attentions(model):
        yield from (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj)
    for stack in (model.get_encoder(), model.get_decoder()):
        for layer in stack.layers:
            yield from (layer.fc1, layer.fc2)


def _weights(model: Any) -> Iterator[Tensor]:
    """The weights in the order of ``csrc/learning/learn.h``."""
    yield model.get_input_embeddings().weight
    for stack in (model.get_encoder(), model.get_decoder()):
        for layer in stack.layers:
            for module in _in_order(layer):
                yield module.weight
                yield module.bias
        yield stack.layer_norm.weight
        yield stack.layer_norm.bias


def _in_order(layer: Any) -> Iterator[Any]:
    yield from _of_attention(layer.self_attn)
    yield layer.self_attn_layer_norm
    if hasattr(layer, "encoder_attn"):
        yield from _of_attention(layer.encoder_attn)
        yield layer.encoder_attn_layer_norm
    yield from (layer.fc1, layer.fc2, layer.final_layer_norm)


def _of_attention(attention: Any) -> tuple[Any, ...]:
    return attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj


class NativeLoss:
    """Computes losses and gradients of one model; it must be one that nothing speaks against.

    Args:
        model: a ``PegasusForConditionalGeneration``. Its weights are read anew at each call.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._native: NativeLearner | None = None

    def fits(self, batch: Mapping[str, Tensor]) -> bool:
        """Whether the library can read a batch; what is wrong with another the plain modules say."""
        return fits(_arrays(batch), self._model.config.vocab_size)

    def losses(
        self,
        batch: Mapping[str, Tensor],
        parts: Sequence[str],
        scales: Mapping[str, float],
        smoothing: float,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The scaled sum of the parts' losses, with gradients of the weights, and each part's own sum.

        Args:
            batch: what ``learner.to_device`` made.
            parts: of the loss that are wanted, of "target" and "mlm"; the batch has labels for them.
            scales: by what each part's sum is multiplied.
            smoothing: of the target's loss.
        """
        weights = list(_weights(self._model))
        total, sums = _Losses.apply(self, batch, tuple(parts), dict(scales), smoothing, *weights)
        return total, {part: sums[0 if part == "target" else 1] for part in parts}

    def compute(
        self,
        batch: Mapping[str, Tensor],
        parts: Sequence[str],
        scales: Mapping[str, float],
        smoothing: float,
        learned: Sequence[bool],
    ) -> tuple[np.ndarray, list[Tensor | None]]:
        """The parts' sums [2] and the gradient of each weight that is learned."""
        native, config = self._ready(), self._model.config
        weights = [weight.detach() for weight in _weights(self._model)]
        native.pack([weight.data_ptr() for weight in weights])
        texts = Texts(_arrays(batch), parts, config.pad_token_id, config.decoder_start_token_id)
        settings = {
            "positions": _rows(self._model.get_encoder(), texts.source_length),
            "target_positions": _rows(self._model.get_decoder(), max(1, texts.target_length)),
            "logit_bias": self._logit_bias(),
            "target_scale": scales.get("target", 0.0),
            "mlm_scale": scales.get("mlm", 0.0),
            "smoothing": smoothing,
            "learns": int(any(learned)),
            **self._dropout(),
        }
        found = native.run(texts, settings, self._seed())
        if not any(learned):
            return found, [None] * len(weights)
        gradients = [torch.zeros_like(w) if wanted else None for w, wanted in zip(weights, learned)]
        native.collect([0 if gradient is None else gradient.data_ptr() for gradient in gradients])
        return found, gradients

    def _ready(self) -> NativeLearner:
        workers = torch.get_num_threads()
        if self._native is None or self._native.workers != workers:
            self._native = NativeLearner(_shape(self._model), workers)
        return self._native

    def _dropout(self) -> dict[str, float]:
        names = ("dropout", "attention_dropout", "activation_dropout")
        return {name: getattr(self._model.config, name) if self._model.training else 0.0 for name in names}

    def _seed(self) -> int:
        """Where this batch's dropout begins; drawn only where something is dropped."""
        return int(torch.randint(2**62, ())) if any(self._dropout().values()) else 0

    def _logit_bias(self) -> np.ndarray | int:
        bias = getattr(self._model, "final_logits_bias", None)
        if bias is None or not bool(bias.any()):
            return 0
        return np.ascontiguousarray(bias[0].detach().float().numpy())


def _shape(model: Any) -> ShapeRecord:
    config = model.config
    return ShapeRecord(
        width=config.d_model,
        encoder_heads=config.encoder_attention_heads,
        decoder_heads=config.decoder_attention_heads,
        encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers,
        encoder_hidden=config.encoder_ffn_dim,
        decoder_hidden=config.decoder_ffn_dim,
        vocabulary=config.vocab_size,
        pad=config.pad_token_id,
        scale=embedding_scale(config),
        eps=config.layer_norm_eps,
    )


def _arrays(batch: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    names = ("input_ids", "attention_mask", "labels", "mlm_labels")
    return {name: batch[name].numpy() for name in names if name in batch}


def _rows(stack: Any, length: int) -> np.ndarray:
    """A stack's table of positions, as long as that."""
    return np.ascontiguousarray(stack.embed_positions(length).detach().float().numpy())


class _Losses(torch.autograd.Function):
    """Losses in the forward pass with all gradients, which the backward pass hands on."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        loss: NativeLoss,
        batch: Mapping[str, Tensor],
        parts: Sequence[str],
        scales: Mapping[str, float],
        smoothing: float,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        sums, ctx.gradients = loss.compute(batch, parts, scales, smoothing, ctx.needs_input_grad[5:])
        factors = [scales[part] if part in parts else 0.0 for part in ("target", "mlm")]
        found = torch.tensor(sums, dtype=torch.float32)
        ctx.mark_non_differentiable(found)
        return torch.tensor(float(sums @ factors), dtype=torch.float32), found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_total: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None  # they are changed in place, and large
        factor = float(d_total)
        if factor != 1.0:
            for gradient in gradients:
                if gradient is not None:
                    gradient.mul_(factor)
        return None, None, None, None, None, *gradients
