"""The PyTorch side of loading and saving, and everything that changes a model's shape."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from pegasus.backends.torch.layers import Attention, SinusoidalPositions
from pegasus.checkpoint.pretrained import PretrainedMixin
from pegasus.checkpoint.raw import RawTensor
from pegasus.errors import BadSetting
from pegasus.spec.config import PegasusConfig
from pegasus.spec.parameters import parameters

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_SPELLINGS = {dtype: spelling for spelling, dtype in DTYPES.items()}


def to_torch(raw: RawTensor) -> Tensor:
    """A tensor over the same memory as ``raw``, which may be a read-only map: copy before changing it."""
    flat = raw.data if raw.data.flags.writeable else _writeable_view(raw.data)
    return torch.from_numpy(flat).view(DTYPES[raw.dtype]).reshape(raw.shape)


def _writeable_view(data: np.ndarray) -> np.ndarray:
    # torch warns of read-only arrays, although nobody writes here; an address carries no such flag.
    address = data.__array_interface__["data"][0]
    interface = {"data": (address, False), "shape": data.shape, "typestr": "|u1", "version": 3}
    holder = type("Bytes", (), {"__array_interface__": interface, "kept": data})()
    return np.asarray(holder)


def from_torch(tensor: Tensor) -> RawTensor:
    """The bytes of a tensor, moved to the host when they are elsewhere."""
    plain = tensor.detach().to("cpu").contiguous()
    data = plain.reshape(-1).view(torch.uint8).numpy()
    return RawTensor(dtype=_SPELLINGS[plain.dtype], shape=tuple(tensor.shape), data=data)


def torch_dtype(dtype: str | torch.dtype | None) -> torch.dtype:
    """A dtype by its name, with or without ``torch.`` before it.

    Raises:
        BadSetting: no floating-point dtype has that name.
    """
    found = (
        dtype if isinstance(dtype, torch.dtype) else getattr(torch, str(dtype).removeprefix("torch."), None)
    )
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise BadSetting(f"unknown dtype {dtype!r}: use float32, bfloat16 or float16")
    return found


class TorchPretrained(PretrainedMixin):
    """What ``PretrainedMixin`` needs of PyTorch, and the methods that resize, tie and prune.

    It is combined with ``nn.Module``; ``shared_embedding()`` and the like are answered by the model class.
    """

    config: PegasusConfig
    supports_gradient_checkpointing = True
    main_input_name = "input_ids"

    # -- the hooks of PretrainedMixin ------------------------------------------------------------------

    @classmethod
    def _blank(cls, config: PegasusConfig, dtype: str | None) -> Self:
        make: Any = cls  # combined with nn.Module, which takes the configuration
        with torch.device("meta"):
            model = make(config)
        return model if dtype is None else model.to(torch_dtype(dtype))  # type: ignore[no-any-return]

    def _accept(self, arrays: Iterable[tuple[str, RawTensor]]) -> None:
        for name, raw in arrays:
            module, _, leaf = name.rpartition(".")
            owner = self.get_submodule(module)  # type: ignore[attr-defined]
            old = getattr(owner, leaf)
            # A copy: the file's map must not outlive the load, nor training write into it.
            tensor = to_torch(raw).to(dtype=old.dtype, copy=True)
            if isinstance(old, nn.Parameter):
                setattr(owner, leaf, nn.Parameter(tensor, requires_grad=old.requires_grad))
            else:
                setattr(owner, leaf, tensor)

    @torch.no_grad()
    def _fill_absent(self, names: Sequence[str]) -> None:
        for name in names:
            module, _, leaf = name.rpartition(".")
            owner = self.get_submodule(module)  # type: ignore[attr-defined]
            old = getattr(owner, leaf)
            if old.is_meta:
                # empty_like on a meta tensor would import PyTorch's compiler, half a second.
                fresh = torch.empty(old.shape, dtype=old.dtype)
                setattr(
                    owner,
                    leaf,
                    nn.Parameter(fresh, old.requires_grad) if isinstance(old, nn.Parameter) else fresh,
                )
            self._init_tensor(owner, leaf)

    def _finish(self) -> Self:
        self.tie_weights()
        return self.eval()  # type: ignore[attr-defined,no-any-return]

    def _arrays(self, state_dict: Mapping[str, Tensor] | None = None) -> Iterator[tuple[str, RawTensor]]:
        state = self.state_dict() if state_dict is None else state_dict  # type: ignore[attr-defined]
        for name in parameters(self.config, self.kind):
            owner = self.get_submodule(name.rpartition(".")[0])  # type: ignore[attr-defined]
            # A table that the formula gives is not stored; one that a checkpoint brought must not be lost.
            if name in state and not (isinstance(owner, SinusoidalPositions) and owner.is_computed()):
                yield name, from_torch(state[name])

    # -- fresh weights ---------------------------------------------------------------------------------

    @torch.no_grad()
    def init_weights(self) -> None:
        """Draw every weight anew: normal with ``init_std``, biases 0, norms 1, the row of padding 0."""
        for module in self.modules():  # type: ignore[attr-defined]
            for leaf, _ in list(module.named_parameters(recurse=False)) + list(
                module.named_buffers(recurse=False)
            ):
                self._init_tensor(module, leaf)
        self.tie_weights()

    def _init_tensor(self, owner: nn.Module, leaf: str) -> None:
        tensor = getattr(owner, leaf)
        if isinstance(owner, SinusoidalPositions):
            owner.reset_parameters()
        elif leaf.endswith("bias") or leaf == "final_logits_bias":
            tensor.zero_()
        elif isinstance(owner, nn.LayerNorm):
            tensor.fill_(1.0)
        else:
            tensor.normal_(mean=0.0, std=self.config.init_std)
            if isinstance(owner, nn.Embedding) and owner.padding_idx is not None:
                tensor[owner.padding_idx].zero_()

    def tie_weights(self) -> None:
        """Make the output layer use the input embeddings again, where the configuration says so."""
        output = self.get_output_embeddings()  # type: ignore[attr-defined]
        if output is not None and self.config.tie_word_embeddings:
            output.weight = self.get_input_embeddings().weight  # type: ignore[attr-defined]

    # -- shapes ----------------------------------------------------------------------------------------

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None
    ) -> nn.Embedding:
        """Let the model know more tokens, or fewer; new rows are drawn like fresh weights.

        Args:
            new_num_tokens: the new V; None leaves it, apart from rounding.
            pad_to_multiple_of: V is rounded up to a multiple of this.

        Returns:
            The input embeddings, [V, D].
        """
        old: nn.Embedding = self.get_input_embeddings()  # type: ignore[attr-defined]
        count = old.num_embeddings if new_num_tokens is None else new_num_tokens
        if pad_to_multiple_of is not None:
            count = -(-count // pad_to_multiple_of) * pad_to_multiple_of
        if count <= 0:
            raise BadSetting(f"a vocabulary cannot have {count} tokens")
        if count != old.num_embeddings:
            self._resize_vocabulary(old, count)
        self.config.vocab_size = count
        return self.get_input_embeddings()  # type: ignore[attr-defined,no-any-return]

    def _resize_vocabulary(self, old: nn.Embedding, count: int) -> None:
        output = self.get_output_embeddings()  # type: ignore[attr-defined]
        tied = output is not None and output.weight is old.weight
        padding = old.padding_idx if old.padding_idx is not None and old.padding_idx < count else None
        grown = nn.Embedding(count, old.embedding_dim, padding, device="meta")
        grown.weight = nn.Parameter(self._resized(old.weight, count), old.weight.requires_grad)
        self.set_input_embeddings(grown)  # type: ignore[attr-defined]
        if output is not None:
            weight = grown.weight if tied else nn.Parameter(self._resized(output.weight, count))
            output.weight, output.out_features = weight, count
        self.config.vocab_size = count
        bias = getattr(self, "final_logits_bias", None)
        if bias is not None:
            wider = bias.new_zeros(1, count)
            wider[:, : bias.shape[1]] = bias[:, :count]
            self.final_logits_bias = wider

    @torch.no_grad()
    def _resized(self, weight: Tensor, count: int) -> Tensor:
        fresh = weight.new_empty(count, weight.shape[1]).normal_(mean=0.0, std=self.config.init_std)
        kept = min(count, weight.shape[0])
        fresh[:kept] = weight[:kept]
        return fresh

    def resize_position_embeddings(self, new_num_position_embeddings: int) -> None:
        """Keep a table of this many positions. The sinusoid has no end, so nothing is lost or learned."""
        if new_num_position_embeddings <= 0:
            raise BadSetting(f"a table cannot have {new_num_position_embeddings} positions")
        self.config.max_position_embeddings = new_num_position_embeddings
        for module in list(self.modules()):  # type: ignore[attr-defined]
            for name, child in list(module.named_children()):
                if isinstance(child, SinusoidalPositions):
                    table = SinusoidalPositions(
                        new_num_position_embeddings, child.embedding_dim, child.table
                    )
                    setattr(module, name, table.to(child.weight.device, child.weight.dtype))

    def prune_heads(self, heads_to_prune: Mapping[Any, Collection[int]]) -> None:
        """Cut attention heads out for good.

        Args:
            heads_to_prune: for a place the numbers of its heads, as they were before any pruning. A place
                is a layer's number (the encoder's self-attention, or the decoder's in a model without
                encoder), or a pair such as ``("encoder", 3)``, ``("decoder", 0)``, ``("cross", 0)``. It is
                written to ``config.pruned_heads`` (``"cross.0": [1, 2]``), so that the model loads again.
        """
        already = copy.deepcopy(self.config.pruned_heads)
        for place, heads in heads_to_prune.items():
            key = self._place(place)
            gone = set(already.get(key, []))
            kept = [head for head in range(self._original_heads(key)) if head not in gone]
            wrong = sorted(set(heads) - set(kept) - gone)
            if wrong:
                raise BadSetting(f"heads {wrong} of {key} cannot be pruned: it has heads {kept}")
            fresh = set(heads) - gone
            if fresh == set(kept):
                raise BadSetting(f"all heads of {key} would be pruned: leave at least one")
            self._attention(key).prune_heads([kept.index(head) for head in fresh])
            already[key] = sorted(gone | fresh)
        self.config.pruned_heads = already

    def _place(self, place: Any) -> str:
        default = "encoder" if self.config.is_encoder_decoder and self.kind != "causal" else "decoder"
        part, layer = (default, place) if not isinstance(place, tuple) else place
        if isinstance(place, str):
            part, _, layer = place.partition(".")
        count = self.config.encoder_layers if part == "encoder" else self.config.decoder_layers
        if part not in ("encoder", "decoder", "cross") or not 0 <= int(layer) < count:
            raise BadSetting(
                f"{place!r} is no attention of this model: name a layer, or a pair such as ('cross', 0)"
            )
        return f"{part}.{int(layer)}"

    def _original_heads(self, key: str) -> int:
        encoder = key.startswith("encoder")
        return int(self.config.encoder_attention_heads if encoder else self.config.decoder_attention_heads)

    def _attention(self, key: str) -> Attention:
        part, _, layer = key.partition(".")
        stack = self.get_encoder() if part == "encoder" else self.get_decoder()  # type: ignore[attr-defined]
        attention: Attention = getattr(
            stack.layers[int(layer)], "encoder_attn" if part == "cross" else "self_attn"
        )
        return attention

    # -- training --------------------------------------------------------------------------------------

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: dict[str, Any] | None = None
    ) -> None:
        """Compute the activations of each layer again in the backward pass instead of keeping them."""
        if gradient_checkpointing_kwargs and gradient_checkpointing_kwargs.get("use_reentrant"):
            raise BadSetting(
                "use_reentrant=True is not offered: checkpoints here are the non-reentrant ones"
            )
        self._set_checkpointing(True)

    def gradient_checkpointing_disable(self) -> None:
        """Keep activations again."""
        self._set_checkpointing(False)

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether gradient checkpointing is on."""
        return any(getattr(module, "gradient_checkpointing", False) for module in self.modules())  # type: ignore[attr-defined]

    def _set_checkpointing(self, on: bool) -> None:
        for module in self.modules():  # type: ignore[attr-defined]
            if hasattr(module, "gradient_checkpointing"):
                module.gradient_checkpointing = on

    # -- questions -------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device  # type: ignore[attr-defined,no-any-return]

    @property
    def dtype(self) -> torch.dtype:
        """What the parameters are kept as."""
        return next(self.parameters()).dtype  # type: ignore[attr-defined,no-any-return]

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """How many numbers the parameters hold; tied ones count once."""
        embeddings = {id(m.weight) for m in self.modules() if isinstance(m, nn.Embedding)}  # type: ignore[attr-defined]
        return sum(
            parameter.numel()
            for parameter in self.parameters()  # type: ignore[attr-defined]
            if (parameter.requires_grad or not only_trainable)
            and not (exclude_embeddings and id(parameter) in embeddings)
        )
