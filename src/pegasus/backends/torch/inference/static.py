"""A decoder whose memory stays in place, for GPUs: passes are CUDA graphs, and C numbers a row come back.

It says what ``TorchDecoder`` says. What it has no place for (records of attentions, a memory brought along,
a decoder alone, dropout) is left to that one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pegasus.backends.torch.inference import encoder_passes, static_step
from pegasus.backends.torch.inference.scores import TorchScores
from pegasus.backends.torch.inference.static_cache import Memory, Shape
from pegasus.backends.torch.inference.static_passes import Memories, Pass
from pegasus.generation.model_inputs import Request
from pegasus.generation.session import Reading, Step

if TYPE_CHECKING:
    from jaxtyping import Float

#: The most continuations a row that are found within a pass; more are looked for in its logits.
MOST = 64


def fits(model: Any, request: Request) -> bool:
    """Whether a static decoder can read for this model, and does so by default: on GPUs.

    ``model.static_memory`` says otherwise: True for any device, False for none.
    """
    wanted = getattr(model, "static_memory", None)
    if wanted is False or (wanted is None and model.device.type != "cuda"):
        return False
    special = (
        request.past_key_values,
        request.decoder_attention_mask,
        request.head_mask,
        request.decoder_head_mask,
        request.cross_attn_head_mask,
    )
    plain = request.use_cache and not request.records.any and all(one is None for one in special)
    return plain and model.kind == "conditional" and not model.training and _is_plain(model)


def _is_plain(model: Any) -> bool:
    """Whether all layers are as they were made: no adapters, no pruned heads, no other output layer."""
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    linears = (type(part) for part in decoder.modules() if hasattr(part, "in_features"))
    as_made = all(kind is nn.Linear for kind in linears) and type(head) is nn.Linear and head.bias is None
    device = model.device.type
    return as_made and not model.config.pruned_heads and not torch.is_autocast_enabled(device)


def encode(model: Any, request: Request) -> tuple[Float[Tensor, "B S D"]] | None:
    """The encoder's states by a recorded pass; None for texts that are not followed by padding only."""
    lengths_B = encoder_passes.lengths_of(request.input_ids, request.attention_mask)
    if lengths_B is None:
        return None
    memories: Memories = model.__dict__.setdefault("_memories", Memories())
    with torch.inference_mode():
        memories.weights_of(model)
        assert memories.choice is not None
        return (memories.encoders.encode(model, request.input_ids, lengths_B, memories.choice),)


#: Stands for log Σ exp of the logits of a pass.
_OF_THE_PASS = object()


class StaticScores(TorchScores):
    """The logits of a pass that found the best continuations too. They are not changed, only copied.

    Args:
        scores_NV: the logits.
        found: the pass.
    """

    def __init__(self, scores_NV: Float[Tensor, "N V"], found: Pass) -> None:
        super().__init__(scores_NV, owned=False)
        self.found = found

    def logsumexp(self) -> Any:
        """A word for it: what the pass found has it taken off already."""
        return _OF_THE_PASS

    def best(self, count: int, shift: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """The best tokens of each row: with their log-probabilities in one copy from the device."""
        if shift is _OF_THE_PASS and count <= self.found.count:
            values_NC, tokens_NC = self.found.best(self.rows)
            return values_NC[:, :count], tokens_NC[:, :count]
        return super().best(count, shift)

    def _to_host(self, values_NK: Tensor, shift: Any) -> np.ndarray:
        return super()._to_host(values_NK, super().logsumexp() if shift is _OF_THE_PASS else shift)


class StaticDecoder:
    """A decoder with its memory in buffers that are kept from one call to the next.

    Args:
        model: a model with encoder, decoder and head.
        states_BSD: what cross-attention looks at.
        source_mask_BS: its padding.
    """

    encoded = Reading()

    def __init__(
        self, model: Any, states_BSD: Float[Tensor, "B S D"], source_mask_BS: Tensor | None
    ) -> None:
        self.vocab_size = int(model.config.vocab_size)
        self.memories: Memories = model.__dict__.setdefault("_memories", Memories())
        with torch.inference_mode():
            self.weights = self.memories.weights_of(model)
        self.texts, self.length = len(states_BSD), 0
        self.memory: Memory | None = None
        self.logits_NV: Tensor | None = None
        self._source = states_BSD.to(self.weights.dtype), source_mask_BS
        self._pass: Pass | None = None

    def computing(self) -> Any:
        """No gradients."""
        return torch.inference_mode()

    def scores(self) -> TorchScores:
        """The logits where they lie."""
        assert self.logits_NV is not None, "the first ask reads a prompt"
        if self._pass is not None and self._pass.count:
            return StaticScores(self.logits_NV, self._pass)
        return TorchScores(self.logits_NV, owned=False)

    def copied(self, rows_K: np.ndarray | None) -> TorchScores:
        """Some rows of them, copied when they are changed."""
        assert self.logits_NV is not None, "the first ask reads a prompt"
        if rows_K is None:
            return TorchScores(self.logits_NV, owned=False)
        return TorchScores(self.logits_NV[torch.from_numpy(rows_K).to(self.logits_NV.device)], owned=True)

    def step(self, step: Step) -> Reading:
        """Reads tokens."""
        rows, tokens = step.tokens_RT.shape
        memory, parents_R = self._settle(step)
        span = memory.span(self.length + tokens)
        if tokens > 1:
            self._pass, hidden = None, self._read_many(memory, span, step.tokens_RT, parents_R)
            last = hidden[:, -step.positions :].flatten(0, 1)
            self.logits_NV = static_step.logits(self.weights, last)
        else:
            count = step.count if step.count <= MOST else 0
            self._pass = self.memories.get_pass(memory, span, count)
            self._tell(memory, step.tokens_RT[:, 0], parents_R)
            self._pass.run()
            hidden, self.logits_NV = self._pass.states[:rows], self._pass.logits[:rows]
        self.length += tokens
        return Reading(hidden.float().cpu().numpy()) if step.hidden else Reading()

    def _tell(self, memory: Memory, tokens_R: np.ndarray, parents_R: np.ndarray) -> None:
        """All numbers that a pass needs, in one copy to the device."""
        rows = memory.texts * memory.beams
        numbers = memory.telling.numpy()
        numbers[: len(tokens_R)] = tokens_R
        numbers[rows : 2 * rows] = np.arange(rows)
        numbers[rows : rows + len(parents_R)] = parents_R
        numbers[-1] = self.length
        memory.told.copy_(memory.telling, non_blocking=True)

    def _read_many(
        self, memory: Memory, span: int, tokens_RT: np.ndarray, parents_R: np.ndarray
    ) -> Float[Tensor, "R T D"]:
        """Several tokens in each row: a prompt, or a draft to be verified."""
        rows, device = memory.texts * memory.beams, memory.told.device
        tokens = np.zeros((rows, tokens_RT.shape[1]), np.int64)
        parents = np.arange(rows)
        tokens[: len(tokens_RT)], parents[: len(parents_R)] = tokens_RT, parents_R
        start = torch.tensor(self.length, device=device)
        ids, from_rows = (torch.from_numpy(one).to(device) for one in (tokens, parents))
        read = static_step.read(self.weights, memory, span, ids, from_rows, start)
        return read[: len(tokens_RT)]

    # -- memory ------------------------------------------------------------------------------------------

    def _settle(self, step: Step) -> tuple[Memory, np.ndarray]:
        """A memory that has room for the step, and the rows of it that its rows carry on."""
        rows, tokens = step.tokens_RT.shape
        texts_B = np.arange(self.texts) if step.texts_B is None else np.asarray(step.texts_B)
        parents_R = np.arange(rows) if step.parents_R is None else np.asarray(step.parents_R)
        if step.keep < self.length and self.memory is not None:
            self.length = step.keep
            self.memory.seen_RKM[:, self.length :] = False
        beams = rows // len(texts_B)
        old = self.memory
        stays = old is not None and step.texts_B is None and beams == old.beams
        if old is not None and stays and self.length + tokens <= old.places:
            return old, parents_R
        self.memory = self._move(old, len(texts_B), beams, tokens, parents_R, texts_B)
        self.texts = len(texts_B)
        return self.memory, np.arange(rows)

    def _move(
        self,
        old: Memory | None,
        texts: int,
        beams: int,
        tokens: int,
        parents_R: np.ndarray,
        texts_B: np.ndarray,
    ) -> Memory:
        source = self._source[0].shape[1]
        shape = Shape.holding(texts, beams, self.length + tokens, source)
        memory = self.memories.lend(self, shape)
        if old is None:
            memory.look_at(self.weights, *self._source)
        else:
            memory.take_over(old, self.length, parents_R, texts_B)
            old.owner = None
        return memory
