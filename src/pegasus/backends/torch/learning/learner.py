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
from pegasus.backends.torch.learning.spans import BatchSpans, find_spans, sent
from pegasus.backends.torch.model.heads import shift_tokens_right
from pegasus.backends.torch.model.layers import Attention, Layer
from pegasus.backends.torch.model.stacks import Stack
from pegasus.errors import BadSetting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Float

    from pegasus.backends.torch.learning.distillation import Teacher


def to_device(batch: Batch, device: torch.device, packed: bool = False) -> dict[str, Any]:
    """A batch as tensors, with the places of the tokens that count; a mask of ones is left out.

    The places are found here, on the host, so that no device has to be waited for.

    Args:
        batch: arrays of the host.
        device: where the tensors go.
        packed: whether ``spans`` says besides how its texts lie one behind another.
    """
    arrays = {name: array for name, array in batch.items() if name != "attention_mask"}
    mask = batch.get("attention_mask")
    if mask is not None and not mask.all():
        arrays["attention_mask"] = mask
    tensors = {name: torch.from_numpy(array.astype(np.int64)) for name, array in arrays.items()}
    for key in PARTS.values():
        if key in batch:
            tensors[f"{key}_places"] = torch.from_numpy(np.flatnonzero(batch[key] != IGNORED))
    found: dict[str, Any] = {name: sent(tensor, device) for name, tensor in tensors.items()}
    if packed and (spans := find_spans(batch, device)) is not None:
        found["spans"] = spans
    return found


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
        assert guide is None or "spans" not in batch, "a teacher reads no packed batches"
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
        if (spans := batch.get("spans")) is not None:
            return self._packed_sums(batch, smoothing, spans)
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

    def _packed_sums(
        self, batch: Mapping[str, Any], smoothing: float, spans: BatchSpans
    ) -> dict[str, Tensor]:
        encoded, found = None, {}
        if not self.causal:
            assert spans.source is not None
            ids = batch["input_ids"].flatten()[spans.source.places]
            encoded = self.model.get_encoder().forward_packed(ids, spans.source)
        if spans.target is not None and "target" in self.objective.parts:
            given = self._given(batch).flatten()[spans.target.places]
            decoder = self.model.get_decoder()
            states = decoder.forward_packed(given, spans.target, encoded, spans.source)
            found["target"] = self._loss(states, batch, "labels", smoothing, spans.counted["labels"])
        if "mlm_labels" in spans.counted and "mlm" in self.objective.parts:
            assert encoded is not None
            found["mlm"] = self._loss(encoded, batch, "mlm_labels", 0.0, spans.counted["mlm_labels"])
        return found

    def _given(self, batch: Mapping[str, Tensor]) -> Tensor:
        """What the decoder reads."""
        config = self.model.config
        return shift_tokens_right(batch["labels"], config.pad_token_id, config.decoder_start_token_id)

    def _decode(
        self, batch: Mapping[str, Tensor], encoded: Tensor | None, asked: Mapping[str, bool]
    ) -> Any:
        return self.model.get_decoder()(
            input_ids=self._given(batch),
            encoder_hidden_states=encoded,
            encoder_attention_mask=None if encoded is None else batch.get("attention_mask"),
            use_cache=False,
            return_dict=True,
            **asked,
        )

    def _loss(
        self,
        states: Float[Tensor, "*N D"],
        batch: Mapping[str, Tensor],
        key: str,
        smoothing: float,
        rows: Tensor | None = None,
    ) -> Tensor:
        """The sum over the tokens that count.

        Args:
            states: of all tokens.
            batch: has the labels.
            key: which labels.
            smoothing: see ``chunked_cross_entropy``.
            rows: which of the states belong to labels that count; None: as the labels lie.
        """
        places = batch[f"{key}_places"]
        bias = getattr(self.model, "final_logits_bias", None)
        return chunked_cross_entropy(
            states.flatten(0, -2)[places if rows is None else rows],
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
