"""What a model can be asked: where it is, what its numbers are, how many there are, and what it costs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pegasus.spec import masks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pegasus.spec.config import PegasusConfig

log = logging.getLogger(__name__)


class Questions:
    """Questions about parameters, costs and masks, mixed into every model class."""

    config: PegasusConfig
    framework = "pt"
    main_input_name = "input_ids"
    is_parallelizable = False

    @property
    def warnings_issued(self) -> dict[str, bool]:
        """What trainers note that they have said about this model."""
        noted: dict[str, bool] = self.__dict__.setdefault("_warnings_issued", {})
        return noted

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device  # type: ignore[attr-defined,no-any-return]

    @property
    def dtype(self) -> torch.dtype:
        """What the parameters are kept as."""
        found = (p.dtype for p in self.parameters() if p.is_floating_point())  # type: ignore[attr-defined]
        return next(found)  # type: ignore[no-any-return]

    @property
    def name_or_path(self) -> str:
        """What the model was loaded from; empty for one made from a configuration."""
        return self.config.name_or_path

    @property
    def base_model(self) -> Any:
        """The model without its head; itself where it has none."""
        return getattr(self, self.base_model_prefix, self)  # type: ignore[attr-defined]

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """How many numbers the parameters hold; tied ones count once."""
        embeddings = {id(m.weight) for m in self.modules() if isinstance(m, nn.Embedding)}  # type: ignore[attr-defined]
        return sum(
            parameter.numel()
            for parameter in self.parameters()  # type: ignore[attr-defined]
            if (parameter.requires_grad or not only_trainable)
            and not (exclude_embeddings and id(parameter) in embeddings)
        )

    def get_memory_footprint(self, return_buffers: bool = True) -> int:
        """How many bytes the parameters take, and with ``return_buffers`` the buffers too."""
        tensors = [*self.parameters(), *(self.buffers() if return_buffers else ())]  # type: ignore[attr-defined]
        return sum(tensor.nelement() * tensor.element_size() for tensor in tensors)

    def estimate_tokens(self, input_dict: Mapping[str, Any]) -> int:
        """How many tokens a batch has, padding counted, judged by its main input; 0 without one."""
        found = input_dict.get(self.main_input_name)
        return 0 if found is None else int(found.numel())

    def floating_point_ops(self, input_dict: Mapping[str, Any], exclude_embeddings: bool = True) -> int:
        """About how many operations a forward and a backward pass take: 6 a token and parameter."""
        count = self.num_parameters(exclude_embeddings=exclude_embeddings)
        return 6 * self.estimate_tokens(input_dict) * count

    # -- masks -------------------------------------------------------------------------------------------

    def invert_attention_mask(self, encoder_attention_mask: Tensor) -> Tensor:
        """0 where a mask of ones and zeros [B, S] or [B, T, S] allows, the least number elsewhere.

        Returns:
            [B, 1, 1, S] or [B, 1, T, S], in the model's own type.
        """
        mask = encoder_attention_mask
        wide = mask[:, None, None, :] if mask.dim() == 2 else mask[:, None]
        return self._additive_mask(wide != 0)

    def get_extended_attention_mask(
        self,
        attention_mask: Tensor,
        input_shape: Sequence[int],
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """The same for self-attention: a decoder (``config.is_decoder``) sees no later token either.

        Args:
            attention_mask: [B, S], or [B, T, S] as it is.
            input_shape: (B, T) of what is read.
            device: no longer used, as in transformers 4.34.
            dtype: of the result; the model's own.
        """
        if attention_mask.dim() == 2 and self.config.is_decoder:
            wide = self.create_extended_attention_mask_for_decoder(input_shape, attention_mask)
        else:
            wide = (
                attention_mask[:, None] if attention_mask.dim() == 3 else attention_mask[:, None, None, :]
            )
        return self._additive_mask(wide != 0, dtype)

    @staticmethod
    def create_extended_attention_mask_for_decoder(
        input_shape: Sequence[int], attention_mask: Tensor, device: torch.device | None = None
    ) -> Tensor:
        """What a decoder may see of what it reads and read before: 1 and 0, [B, 1, T, past + T]."""
        keys = torch.arange(attention_mask.shape[1], device=attention_mask.device)
        causal = masks.causal(keys[len(keys) - input_shape[1] :], keys)
        return causal.to(attention_mask.dtype) * attention_mask[:, None, None, :]

    def _additive_mask(self, allowed: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        kind = self.dtype if dtype is None else dtype
        return torch.zeros(allowed.shape, dtype=kind, device=allowed.device).masked_fill(
            ~allowed, torch.finfo(kind).min
        )

    def get_head_mask(
        self, head_mask: Tensor | None, num_hidden_layers: int, is_attention_chunked: bool = False
    ) -> Any:
        """A head mask [H] or [L, H] as [L, 1, H, 1, 1]; a list of None for each layer without one."""
        if head_mask is None:
            return [None] * num_hidden_layers
        rows = head_mask if head_mask.dim() == 2 else head_mask.expand(num_hidden_layers, -1)
        wide = rows[:, None, :, None, None].to(self.dtype)
        return wide.unsqueeze(-1) if is_attention_chunked else wide

    def warn_if_padding_and_no_attention_mask(
        self, input_ids: Tensor, attention_mask: Tensor | None
    ) -> None:
        """Log it when a batch seems to be padded and no mask says so."""
        pad = self.config.pad_token_id
        if attention_mask is None and pad is not None and bool((input_ids[:, [0, -1]] == pad).any()):
            log.warning(
                "the input holds padding (token %s) and no attention_mask was given: padding will be read "
                "as text; pass the attention_mask that the tokenizer returned",
                pad,
            )
