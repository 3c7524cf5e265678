"""Learning on a CPU with the native library: the loss of a batch and all gradients in one call.

PyTorch takes one operation after the other over a whole batch, most of them a walk through memory. Here
texts are learned from some at a time, each thread its own, with the intermediate numbers of one layer in
the cache and without padding. For bfloat16 on processors that multiply it (AVX-512 BF16, AMX); everything
else is left to the plain modules, of which the weights are.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributed.tensor import DTensor

from pegasus.backends.contract import IGNORED
from pegasus.backends.packed.native import reason
from pegasus.backends.packed.native.learning import NativeLearner, ShapeRecord, not_offered
from pegasus.backends.torch.model.heads import shift_tokens_right
from pegasus.backends.torch.model.layers import Attention, embedding_scale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jaxtyping import Float

#: Tokens of sources that one thread takes at a time: what a layer keeps of them is some MiB.
PART_TOKENS = 2048
_TILE = 32


def reason_against(model: Any) -> str | None:
    """Why a model is not taught natively, in a few words; None when it can be."""
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
    """The weights in the order of ``csrc/learn.h``."""
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


class NativeTeacher:
    """Computes losses and gradients of one model; it must be one that nothing speaks against.

    Args:
        model: a ``PegasusForConditionalGeneration``. Its weights are read anew at each call.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._native: NativeLearner | None = None
        self._pool: ThreadPoolExecutor | None = None

    def fits(self, batch: Mapping[str, Tensor]) -> bool:
        """Whether each text has tokens, all of the vocabulary, and what MLM covers is not padding.

        The library would read beyond its tables; the plain modules say what is wrong.
        """
        labels = [batch[name] for name in ("labels", "mlm_labels") if name in batch]
        counted = [ids[ids != IGNORED] for ids in labels]
        if not all(self._are_tokens(ids) for ids in (batch["input_ids"], *counted)):
            return False
        mask = batch.get("attention_mask")
        if mask is None:
            return int(batch["input_ids"].shape[1]) > 0
        mlm = batch.get("mlm_labels")
        seen = mask != 0
        hidden = mlm is not None and bool(((mlm != IGNORED) & ~seen).any())
        return not hidden and bool(seen.any(dim=1).all())

    def _are_tokens(self, ids: Tensor) -> bool:
        return bool(((ids >= 0) & (ids < self._model.config.vocab_size)).all())

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
        total, sums = _Taught.apply(self, batch, tuple(parts), dict(scales), smoothing, *weights)
        return total, {part: sums[0 if part == "target" else 1] for part in parts}

    def native_loss(
        self,
        batch: Mapping[str, Tensor],
        parts: Sequence[str],
        scales: Mapping[str, float],
        smoothing: float,
        learned: Sequence[bool],
    ) -> tuple[np.ndarray, list[Tensor | None]]:
        """The parts' sums [2] and the gradient of each weight that is learned."""
        native, pool = self._ready()
        weights = [weight.detach() for weight in _weights(self._model)]
        addresses = [weight.data_ptr() for weight in weights]
        everybody = range(native.workers)
        list(pool.map(lambda i: native.pack(addresses, i, native.workers), everybody))
        texts = _Texts(self._model, batch, parts)
        settings = {
            "positions": texts.source_rows,
            "target_positions": texts.target_rows,
            "logit_bias": self._logit_bias(),
            "target_scale": scales.get("target", 0.0),
            "covered_scale": scales.get("mlm", 0.0),
            "smoothing": smoothing,
            "learns": int(any(learned)),
            **self._dropout(),
        }
        run = partial(_run_all, native, texts, settings, self._seed())
        found = np.sum(list(pool.map(run, everybody, _dealt(texts.sizes, native.workers))), axis=0)
        if not any(learned):
            return found, [None] * len(weights)
        gradients = [torch.zeros_like(w) if wanted else None for w, wanted in zip(weights, learned)]
        places = [0 if gradient is None else gradient.data_ptr() for gradient in gradients]
        list(pool.map(lambda i: native.collect(places, i, native.workers), everybody))
        native.collect_last(places)
        return found, gradients

    def _ready(self) -> tuple[NativeLearner, ThreadPoolExecutor]:
        workers = torch.get_num_threads()
        if self._native is None or self._pool is None or self._native.workers != workers:
            self._native = NativeLearner(_shape(self._model), workers)
            self._pool = ThreadPoolExecutor(workers, "pegasus-learn")
        return self._native, self._pool

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


def _run_all(
    native: NativeLearner,
    texts: _Texts,
    settings: Mapping[str, Any],
    seed: int,
    worker: int,
    mine: Sequence[int],
) -> np.ndarray:
    """One worker's texts, some at a time. Returns the losses' sums."""
    sums = np.zeros(2)
    for number, some in enumerate(_portions(texts.sizes, mine)):
        drawn = np.random.SeedSequence([seed, worker, number]).generate_state(1)[0]
        sums += native.run(worker, {**texts.together(some), **settings, "seed": int(drawn)})
    return sums


def _dealt(sizes: Sequence[int], workers: int) -> list[list[int]]:
    """Which texts each worker takes: the longest first, each to whoever has least. Always the same way."""
    hands: list[list[int]] = [[] for _ in range(workers)]
    loads = [0] * workers
    for text in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        least = loads.index(min(loads))
        hands[least].append(text)
        loads[least] += sizes[text]
    return hands


def _portions(sizes: Sequence[int], texts: Sequence[int]) -> Iterator[list[int]]:
    """Texts in portions of about as many tokens each, few enough for one pass."""
    total = sum(sizes[text] for text in texts)
    limit = total / max(1, round(total / PART_TOKENS))
    portion: list[int] = []
    filled = 0.0
    for text in texts:
        portion.append(text)
        filled += sizes[text]
        if filled >= limit - 1:
            yield portion
            portion, filled = [], 0.0
    if portion:
        yield portion


class _Texts:
    """A batch as separate texts without padding."""

    def __init__(self, model: Any, batch: Mapping[str, Tensor], parts: Sequence[str]) -> None:
        ids = batch["input_ids"]
        mask = batch.get("attention_mask")
        seen = np.ones(ids.shape, bool) if mask is None else mask.numpy() != 0
        places = [np.flatnonzero(row) for row in seen]
        self._places = [place.astype(np.int32) for place in places]
        self._sources = _cut(ids, places)
        self._targets, self._labels = self._of_targets(model, batch, parts)
        self._covered = _cut(batch["mlm_labels"], places) if "mlm" in parts else None
        #: Tokens of source and target of each text.
        self.sizes = [len(a) + len(b) for a, b in zip(self._sources, self._targets)]
        longest = max((len(target) for target in self._targets), default=0)
        self.source_rows = _rows(model.get_encoder().embed_positions, ids.shape[1])
        self.target_rows = _rows(model.get_decoder().embed_positions, max(1, longest))

    @staticmethod
    def _of_targets(
        model: Any, batch: Mapping[str, Tensor], parts: Sequence[str]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """What the decoder reads and is to say, up to the last token that counts."""
        if "target" not in parts:
            nothing = [np.zeros(0, np.int32)] * len(batch["input_ids"])
            return nothing, nothing
        labels, config = batch["labels"], model.config
        given = shift_tokens_right(labels, config.pad_token_id, config.decoder_start_token_id)
        counted = labels.numpy() != IGNORED
        ends = [int(row.nonzero()[0][-1]) + 1 if row.any() else 0 for row in counted]
        whole = [np.arange(end) for end in ends]
        return _cut(given, whole), _cut(labels, whole)

    def together(self, texts: Sequence[int]) -> dict[str, Any]:
        """These texts behind each other, as ``BatchRecord`` wants them."""
        fields: dict[str, Any] = {
            "texts": len(texts),
            "source_offsets": _offsets([self._sources[i] for i in texts]),
            "source": np.concatenate([self._sources[i] for i in texts]),
            "source_positions": np.concatenate([self._places[i] for i in texts]),
            "target_offsets": _offsets([self._targets[i] for i in texts]),
            "target": np.concatenate([self._targets[i] for i in texts]),
            "labels": np.concatenate([self._labels[i] for i in texts]),
        }
        if self._covered is not None:
            mlm = np.concatenate([self._covered[i] for i in texts])
            places = np.flatnonzero(mlm != IGNORED).astype(np.int32)
            labels = np.ascontiguousarray(mlm[places])
            fields.update(covered=len(places), covered_places=places, covered_labels=labels)
        return fields


def _cut(ids: Tensor, places: Sequence[np.ndarray]) -> list[np.ndarray]:
    rows = ids.numpy().astype(np.int32)
    return [row[place] for row, place in zip(rows, places)]


def _offsets(texts: Sequence[np.ndarray]) -> np.ndarray:
    return np.cumsum([0, *map(len, texts)]).astype(np.int32)


def _rows(positions: Callable[[int], Tensor], length: int) -> np.ndarray:
    return np.ascontiguousarray(positions(length).detach().float().numpy())


class _Taught(torch.autograd.Function):
    """Losses in the forward pass with all gradients, which the backward pass hands on."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        teacher: NativeTeacher,
        batch: Mapping[str, Tensor],
        parts: Sequence[str],
        scales: Mapping[str, float],
        smoothing: float,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        sums, ctx.gradients = teacher.native_loss(batch, parts, scales, smoothing, ctx.needs_input_grad[5:])
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
