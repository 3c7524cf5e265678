"""Generation on PyTorch: what a decoder remembers, and the hooks that ``GenerationMixin`` asks for.

Axes are those of ``generation.session``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pegasus.backends.torch import attribution, static
from pegasus.backends.torch.answering import Answering
from pegasus.backends.torch.half import logits
from pegasus.backends.torch.hooks import TorchHooks
from pegasus.generation.generate import GenerationMixin
from pegasus.generation.request import Recorded, Request
from pegasus.generation.session import Answer, Ask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jaxtyping import Float

Layer = tuple[Tensor, ...]


class TorchSession:
    """A decoder with its memory.

    Keys and values of cross-attention are held once per text; those of self-attention once per row. The
    memory is moved only when rows really change places.

    Args:
        decoder: the stack of decoder layers.
        head: states [N, D] → logits [N, V].
        vocab_size: V.
        request: masks and what is to be recorded.
        states_BSD: what cross-attention looks at; None: the decoder stands alone.
    """

    def __init__(
        self,
        decoder: Any,
        head: Callable[[Tensor], Tensor],
        vocab_size: int,
        request: Request,
        states_BSD: Float[Tensor, "B S D"] | None,
    ) -> None:
        self.decoder, self.head, self.vocab_size, self.request = decoder, head, vocab_size, request
        self.states_BSD = states_BSD
        causal = states_BSD is None or request.encoder_hidden_states is not None
        self.source_mask_BS = request.encoder_attention_mask if causal else request.attention_mask
        self.mask_RT = request.attention_mask if causal else request.decoder_attention_mask
        self.device = next(decoder.parameters()).device
        self.memory: list[Layer] | None = None
        self.answering = Answering(request.records)
        self._tokens_RT: Tensor | None = None
        if request.past_key_values is not None:
            self.memory = [tuple(layer) for layer in request.past_key_values]

    def step(self, ask: Ask) -> Answer:
        """Answers one ask."""
        # What is recorded goes to the caller, who may want to go on computing with it.
        with torch.no_grad() if self.request.records.any else torch.inference_mode():
            hidden = self._read(ask) if ask.tokens_RT.shape[1] else None
            return self.answering.answer(ask, hidden)

    @property
    def recorded(self) -> Recorded:
        """What was kept for the caller."""
        return self.answering.recorded

    def _read(self, ask: Ask) -> Tensor:
        self._forget(ask.keep)
        self._reorder(ask)
        tokens_RT = torch.from_numpy(np.ascontiguousarray(ask.tokens_RT)).to(self.device)
        tokens_RT = self._to_read(tokens_RT)
        records = self.request.records
        output = self.decoder(
            input_ids=tokens_RT,
            attention_mask=self._mask_for(tokens_RT),
            encoder_hidden_states=self.states_BSD,
            encoder_attention_mask=self.source_mask_BS,
            head_mask=self.request.decoder_head_mask
            if self.states_BSD is not None
            else self.request.head_mask,
            cross_attn_head_mask=self.request.cross_attn_head_mask,
            past_key_values=self.memory,
            use_cache=self.request.use_cache,
            output_attentions=records.attentions,
            output_hidden_states=records.hidden_states,
            return_dict=True,
        )
        if self.request.use_cache:
            self.memory = [tuple(layer) for layer in output.past_key_values]
        hidden_RTD: Tensor = output.last_hidden_state
        last_RPD = hidden_RTD[:, -ask.positions :]
        self.answering.logits_NV = self.head(last_RPD.reshape(-1, last_RPD.shape[-1])).float()
        self._record(output)
        return hidden_RTD

    # -- memory ------------------------------------------------------------------------------------------

    def _forget(self, keep: int | None) -> None:
        if keep is None:
            return
        if self.memory is not None and self.request.use_cache:
            self.memory = [(k[:, :, :keep], v[:, :, :keep], *cross) for k, v, *cross in self.memory]
        if self._tokens_RT is not None:
            self._tokens_RT = self._tokens_RT[:, :keep]
        if self.mask_RT is not None:
            self.mask_RT = self.mask_RT[:, :keep]

    def _reorder(self, ask: Ask) -> None:
        if ask.parents_R is not None:
            rows = torch.from_numpy(np.ascontiguousarray(ask.parents_R)).to(self.device)
            self._select_rows(rows)
        if ask.texts_B is not None:
            texts = torch.from_numpy(ask.texts_B).to(self.device)
            if self.memory is not None:
                self.memory = [
                    (k, v, *(c.index_select(0, texts) for c in cross)) for k, v, *cross in self.memory
                ]
            if self.states_BSD is not None:
                self.states_BSD = self.states_BSD.index_select(0, texts)
            if self.source_mask_BS is not None:
                self.source_mask_BS = self.source_mask_BS.index_select(0, texts)

    def _select_rows(self, rows: Tensor) -> None:
        if self.memory is not None:
            self.memory = [
                (k.index_select(0, rows), v.index_select(0, rows), *cross) for k, v, *cross in self.memory
            ]
        if self._tokens_RT is not None:
            self._tokens_RT = self._tokens_RT.index_select(0, rows)
        if self.mask_RT is not None:
            self.mask_RT = self.mask_RT.index_select(0, rows)

    def _to_read(self, tokens_RT: Tensor) -> Tensor:
        """The tokens the decoder must read: the new ones, or without a cache all of them."""
        first = self._tokens_RT is None
        self._tokens_RT = (
            tokens_RT if self._tokens_RT is None else torch.cat([self._tokens_RT, tokens_RT], dim=1)
        )
        if not self.request.use_cache:
            return self._tokens_RT
        if first and self.memory is not None:
            return self._after_given_memory(tokens_RT)
        return tokens_RT

    def _after_given_memory(self, tokens_RT: Tensor) -> Tensor:
        """The caller brought a memory: it covers the first tokens of the prompt, of each text once."""
        assert self.memory is not None
        past, rows = self.memory[0][0].shape[2], self.memory[0][0].shape[0]
        if rows != len(tokens_RT):
            self._spread(len(tokens_RT) // rows)
        return tokens_RT[:, past:]

    def _spread(self, copies: int) -> None:
        assert self.memory is not None
        self.memory = [
            (k.repeat_interleave(copies, 0), v.repeat_interleave(copies, 0), *cross)
            for k, v, *cross in self.memory
        ]

    def _mask_for(self, tokens_RT: Tensor) -> Tensor | None:
        """The mask over all tokens so far; what the search added is never masked."""
        if self.mask_RT is None or self._tokens_RT is None:
            return None
        rows, length = self._tokens_RT.shape
        if len(self.mask_RT) != rows:
            self.mask_RT = self.mask_RT.repeat_interleave(rows // len(self.mask_RT), dim=0)
        new = self.mask_RT.new_ones((rows, length - self.mask_RT.shape[1]))
        self.mask_RT = torch.cat([self.mask_RT, new], dim=1)
        return self.mask_RT

    # -- records -----------------------------------------------------------------------------------------

    def _record(self, output: Any) -> None:
        if self.request.records.attentions:
            self.recorded.attentions.append(output.attentions)
            if output.cross_attentions is not None:
                self.recorded.cross_attentions.append(output.cross_attentions)
        if self.request.records.hidden_states:
            self.recorded.hidden_states.append(output.hidden_states)


class TorchGeneration(TorchHooks, GenerationMixin):
    """The PyTorch hooks of ``GenerationMixin``, mixed into every model class."""

    def _open_session(self, request: Request) -> TorchSession | static.StaticSession:
        model: Any = self
        if not self.can_generate():
            super()._open_session(request)
        records = request.records
        bias = getattr(model, "final_logits_bias", None)
        causal = getattr(self, "kind", None) == "causal"
        encoded: Any = None if causal else request.encoder_outputs
        with torch.no_grad() if records.any else torch.inference_mode():
            if not causal and encoded is None:
                encoded = model.get_encoder()(
                    input_ids=request.input_ids,
                    attention_mask=request.attention_mask,
                    head_mask=request.head_mask,
                    inputs_embeds=request.inputs_embeds,
                    output_attentions=records.attentions,
                    output_hidden_states=records.hidden_states,
                    return_dict=True,
                )
        states_BSD = request.encoder_hidden_states if causal else encoded[0]

        if static.fits(model, request):
            return static.StaticSession(model, request, states_BSD)

        def head(states_ND: Tensor) -> Tensor:
            logits_NV: Tensor = logits(model.lm_head, states_ND)
            return logits_NV if bias is None else logits_NV + bias

        session = TorchSession(model.get_decoder(), head, int(model.config.vocab_size), request, states_BSD)
        if not causal and records.any:
            session.recorded.encoder_attentions = getattr(encoded, "attentions", None)
            session.recorded.encoder_hidden_states = getattr(encoded, "hidden_states", None)
        return session

    def attend(self, source: Sequence[int], summary: Sequence[int]) -> np.ndarray:
        """Where the decoder looked: float32 [summary tokens, source tokens], mean of layers and heads.

        Args:
            source: tokens of the source.
            summary: tokens of the summary, without the start token. Row t is the look that token t was
                written with, and sums to 1.
        """
        return attribution.attend(self, source, summary)

    def to_native(self, array: np.ndarray) -> Tensor:
        """A tensor with a copy of the numbers, on the model's device."""
        device = next(self.parameters()).device  # type: ignore[attr-defined]
        return torch.from_numpy(np.array(array)).to(device)
