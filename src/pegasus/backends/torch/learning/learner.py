"""A model with its loss as one module, so that DDP and FSDP see one forward pass from batch to number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pegasus.backends.contract import IGNORED, PARTS, Batch
from pegasus.backends.contract.learning import Objective
from pegasus.backends.learning.freezing import learns
from pegasus.backends.torch.learning.loss import chunked_cross_entropy
from pegasus.backends.torch.learning.native_loss import NativeLoss, reason_against
from pegasus.backends.torch.model.heads import shift_tokens_right
from pegasus.backends.torch.model.layers import Attention, Layer
from pegasus.backends.torch.model.stacks import Stack
from pegasus.errors import BadSetting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Float

    from pegasus.backends.torch.learning.distillation import Teacher


def to_device(batch: Batch, device: torch.device) -> dict[str, Tensor]:
    """A batch as tensors, with the places of the tokens that count; a mask of ones is left out.

    The places are found here, on the host, so that no device has to be waited for.
    """
    arrays = {name: array for name, array in batch.items() if name != "attention_mask"}
    mask = batch.get("attention_mask")
    if mask is not None and not mask.all():
        arrays["attention_mask"] = mask
    tensors = {name: torch.from_numpy(array.astype(np.int64)) for name, array in arrays.items()}
    for key in PARTS.values():
        if key in batch:
            tensors[f"{key}_places"] = torch.from_numpy(np.flatnonzero(batch[key] != IGNORED))
    pinned = device.type == "cuda"
    return {
        name: (tensor.pin_memory() if pinned else tensor).to(device, non_blocking=True)
        for name, tensor in tensors.items()
    }


class Learner(nn.Module):
    """The model, what is frozen in it, and the loss: a batch in, a number out.

    Args:
        model: what learns.
        objective: what is learned.
        guide: whom it is compared with; it is no part of this module, and neither spread nor saved.
    """

    def __init__(self, model: Any, objective: Objective, guide: Teacher | None = None) -> None:
        super().__init__()
        self.model = model
        self.causal = model.kind == "causal"
        if model.kind not in ("conditional", "causal"):
            raise BadSetting(f"a {type(model).__name__} has no head to learn with: use one that has")
        self.objective, self.guide = objective, guide
        freeze(model, objective)
        _choose_dropout(model, objective.dropout == "broadcast")
        self._native_loss = NativeLoss(model)

    def forward(
        self, batch: Mapping[str, Tensor], scales: Mapping[str, float], smoothing: float
    ) -> tuple[Float[Tensor, ""], Float[Tensor, " parts"]]:
        """The scaled sum of the parts' losses, and each part's own sum, without gradient.

        Args:
            batch: what ``to_device`` made.
            scales: by what each part's sum is multiplied; also the order in which sums are returned, 0
                for a part that the batch has no labels for.
            smoothing: of the target's loss.
        """
        parts = [part for part in self.objective.parts if PARTS[part] in batch]
        if not parts:
            wanted = " or ".join(PARTS[part] for part in self.objective.parts)
            raise BadSetting(f"a batch has only {sorted(batch)}; to learn from it, it must have {wanted}")
        guide = self.guide if self.guide and scales.keys() - self.objective.parts else None
        if guide is None and self._is_native(batch):
            total, sums = self._native_loss.losses(batch, parts, scales, smoothing)
        else:
            sums = self._sums(batch, smoothing, guide)
            total = torch.stack([sums[part] * scales[part] for part in sums]).sum()
        nothing = torch.zeros_like(total)
        return total, torch.stack([sums.get(part, nothing).detach() for part in scales])

    def _is_native(self, batch: Mapping[str, Tensor]) -> bool:
        """Whether the native library does the work: bfloat16 on a CPU that multiplies tiles, no dropout."""
        lower = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
        return lower and reason_against(self.model) is None and self._native_loss.fits(batch)

    def _sums(
        self, batch: Mapping[str, Tensor], smoothing: float, guide: Teacher | None
    ) -> dict[str, Tensor]:
        if self.causal:
            states = self._decode(batch, None, {}).last_hidden_state
            return {"target": self._loss(states, batch, "labels", smoothing)}
        asked = {} if guide is None else guide.asked
        mask = batch.get("attention_mask")
        encoded = self.model.get_encoder()(batch["input_ids"], mask, return_dict=True, **asked)
        found = {}
        if "labels" in batch and (guide or "target" in self.objective.parts):
            decoded = self._decode(batch, encoded.last_hidden_state, asked)
            if "target" in self.objective.parts:
                found["target"] = self._loss(decoded.last_hidden_state, batch, "labels", smoothing)
            if guide is not None:
                found |= guide.sums(self.model, batch, encoded, decoded)
        if "mlm_labels" in batch and "mlm" in self.objective.parts:
            found["mlm"] = self._loss(encoded.last_hidden_state, batch, "mlm_labels", 0.0)
        return found

    def _decode(
        self, batch: Mapping[str, Tensor], encoded: Tensor | None, asked: Mapping[str, bool]
    ) -> Any:
        config = self.model.config
        given = shift_tokens_right(batch["labels"], config.pad_token_id, config.decoder_start_token_id)
        return self.model.get_decoder()(
            input_ids=given,
            encoder_hidden_states=encoded,
            encoder_attention_mask=None if encoded is None else batch.get("attention_mask"),
            use_cache=False,
            return_dict=True,
            **asked,
        )

    def _loss(self, states: Tensor, batch: Mapping[str, Tensor], key: str, smoothing: float) -> Tensor:
        places = batch[f"{key}_places"]
        bias = getattr(self.model, "final_logits_bias", None)
        return chunked_cross_entropy(
            states.flatten(0, 1)[places],
            self.model.get_output_embeddings().weight,
            batch[key].flatten()[places],
            bias_V=None if bias is None else bias[0],
            smoothing=smoothing,
            pad=self.model.config.pad_token_id,
        )


def freeze(model: Any, objective: Objective) -> None:
    """Take from learning what the objective says, and give back the rest.

    Raises:
        BadSetting: a part that no model has.
    """
    embeddings = {id(model.get_input_embeddings().weight), id(model.get_output_embeddings().weight)}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(learns(name, objective, embedding=id(parameter) in embeddings))


def _choose_dropout(model: nn.Module, broadcast: bool) -> None:
    for module in model.modules():
        if isinstance(module, Attention | Layer | Stack):
            module.broadcast_dropout = broadcast
