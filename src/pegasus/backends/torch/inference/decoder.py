"""The decoder of the plain modules, step by step: keys and values that grow, moved when rows change places.

Axes are those of ``generation.session``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pegasus.backends.torch.inference.scores import TorchScores
from pegasus.generation.session import Reading, Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float

    from pegasus.generation.model_inputs import Request

Layer = tuple[Tensor, ...]


class TorchDecoder:
    """A decoder with its memory.

    Keys and values of cross-attention are held once per text; those of self-attention once per row. The
    memory is moved only when rows really change places.

    Args:
        decoder: the stack of decoder layers.
        head: states [N, D] → logits [N, V].
        vocab_size: V.
        request: masks, a memory that the caller brings, and what is to be recorded.
        states_BSD: what cross-attention looks at; None: the decoder stands alone.
        source_mask_BS: its padding.
        encoded: what is recorded of the encoder.
    """

    def __init__(
        self,
        decoder: Any,
        head: Callable[[Tensor], Tensor],
        vocab_size: int,
        request: Request,
        states_BSD: Float[Tensor, "B S D"] | None,
        source_mask_BS: Tensor | None,
        encoded: Reading,
    ) -> None:
        self.decoder, self.head, self.vocab_size, self.request = decoder, head, vocab_size, request
        self.states_BSD, self.source_mask_BS, self.encoded = states_BSD, source_mask_BS, encoded
        self.device = next(decoder.parameters()).device
        self.logits_NV: Tensor | None = None
        self.memory: list[Layer] | None = None
        if request.past_key_values is not None and request.use_cache:
            self.memory = [tuple(layer) for layer in request.past_key_values]

    @property
    def length(self) -> int:
        """How many places each row remembers."""
        return 0 if self.memory is None else int(self.memory[0][0].shape[2])

    def computing(self) -> Any:
        """No gradients."""
        # What is recorded goes to the caller, who may want to go on computing with it.
        return torch.no_grad() if self.request.records.any else torch.inference_mode()

    def step(self, step: Step) -> Reading:
        """Reads tokens."""
        self._move(step)
        output = self._run(step)
        if self.request.use_cache:
            self.memory = [tuple(layer) for layer in output.past_key_values]
        hidden_RTD: Tensor = output.last_hidden_state
        last_RPD = hidden_RTD[:, -step.positions :]
        self.logits_NV = self.head(last_RPD.reshape(-1, last_RPD.shape[-1])).float()
        return Reading(
            hidden_RTD.float().cpu().numpy() if step.hidden else None,
            output.attentions,
            output.cross_attentions,
            output.hidden_states,
        )

    def scores(self) -> TorchScores:
        """The logits where they lie."""
        assert self.logits_NV is not None, "the first ask reads a prompt"
        return TorchScores(self.logits_NV, owned=False)

    def copied(self, rows_K: np.ndarray | None) -> TorchScores:
        """Some rows of them, copied when they are changed."""
        assert self.logits_NV is not None, "the first ask reads a prompt"
        if rows_K is None:
            return self.scores()
        return TorchScores(self.logits_NV[self._index(rows_K)], owned=True)

    def _run(self, step: Step) -> Any:
        request, cross = self.request, self.states_BSD is not None
        return self.decoder(
            input_ids=self._index(step.tokens_RT),
            attention_mask=None if step.mask_RT is None else self._index(step.mask_RT),
            encoder_hidden_states=self.states_BSD,
            encoder_attention_mask=self.source_mask_BS,
            head_mask=request.decoder_head_mask if cross else request.head_mask,
            cross_attn_head_mask=request.cross_attn_head_mask,
            past_key_values=self.memory,
            use_cache=request.use_cache,
            output_attentions=request.records.attentions,
            output_hidden_states=request.records.hidden_states,
            return_dict=True,
        )

    # -- memory ------------------------------------------------------------------------------------------

    def _move(self, step: Step) -> None:
        """Cut, reorder and drop."""
        if self.memory is not None:
            self.memory = [self._moved(layer, step) for layer in self.memory]
        if step.texts_B is not None:
            texts = self._index(step.texts_B)
            self.states_BSD, self.source_mask_BS = (
                None if one is None else one.index_select(0, texts)
                for one in (self.states_BSD, self.source_mask_BS)
            )

    def _moved(self, layer: Layer, step: Step) -> Layer:
        keys, values, *cross = layer
        if step.keep < keys.shape[2]:
            keys, values = keys[:, :, : step.keep], values[:, :, : step.keep]
        if step.parents_R is not None:
            rows = self._index(step.parents_R)
            keys, values = keys.index_select(0, rows), values.index_select(0, rows)
        elif len(keys) != len(step.tokens_RT):
            # The caller brought a memory with one row a text.
            copies = len(step.tokens_RT) // len(keys)
            keys, values = keys.repeat_interleave(copies, 0), values.repeat_interleave(copies, 0)
        if step.texts_B is not None:
            texts = self._index(step.texts_B)
            cross = [one.index_select(0, texts) for one in cross]
        return (keys, values, *cross)

    def _index(self, numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(numbers)).to(self.device)
