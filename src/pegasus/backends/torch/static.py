"""A session whose memory stays in place, for GPUs: passes are CUDA graphs, and C numbers a row come back.

It gives the answers of ``TorchSession``. What it has no place for (records of attentions, a memory brought
along, a decoder alone, dropout) is left to that one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pegasus.backends.torch import static_step
from pegasus.backends.torch.answering import Answering
from pegasus.backends.torch.static_memory import Memories, Memory, Pass, Shape
from pegasus.generation.request import Recorded, Request
from pegasus.generation.session import Answer, Ask

if TYPE_CHECKING:
    from jaxtyping import Float

#: The most continuations a row that are found within a pass; more are looked for in its logits.
MOST = 64


def fits(model: Any, request: Request) -> bool:
    """Whether a static session can answer for this model, and does so by default: on GPUs.

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


class StaticSession:
    """A decoder with its memory in buffers that are kept from one call to the next.

    Args:
        model: a model with encoder, decoder and head.
        request: masks.
        states_BSD: what cross-attention looks at.
    """

    def __init__(self, model: Any, request: Request, states_BSD: Float[Tensor, "B S D"]) -> None:
        self.vocab_size = int(model.config.vocab_size)
        self.memories: Memories = model.__dict__.setdefault("_memories", Memories())
        with torch.inference_mode():
            self.weights = self.memories.weights_of(model)
        self.answering = Answering(request.records)
        self.texts, self.length = len(states_BSD), 0
        self.memory: Memory | None = None
        self._source = states_BSD.to(self.weights.dtype), request.attention_mask
        self._pass: Pass | None = None

    @property
    def recorded(self) -> Recorded:
        """What was kept for the caller."""
        return self.answering.recorded

    def step(self, ask: Ask) -> Answer:
        """Answers one ask."""
        with torch.inference_mode():
            hidden = self._read(ask) if ask.tokens_RT.shape[1] else None
            if self._pass is not None and self._pass.count and _is_simple(ask):
                values, tokens = self._pass.best(len(ask.tokens_RT))
                return Answer(values[:, : ask.count], tokens[:, : ask.count])
            return self.answering.answer(ask, hidden)

    def _read(self, ask: Ask) -> Tensor:
        rows, tokens = ask.tokens_RT.shape
        memory, parents_R = self._settle(ask)
        span = memory.span(self.length + tokens)
        if tokens > 1:
            self._pass, hidden = None, self._read_many(memory, span, ask.tokens_RT, parents_R)
            last = hidden[:, -ask.positions :].flatten(0, 1)
            self.answering.logits_NV = static_step.logits(self.weights, last)
        else:
            count = min(ask.count or 0, self.vocab_size) if (ask.count or 0) <= MOST else 0
            self._pass = self.memories.get_pass(memory, span, count)
            self._tell(memory, ask.tokens_RT[:, 0], parents_R)
            self._pass.run()
            hidden, self.answering.logits_NV = self._pass.states[:rows], self._pass.logits[:rows]
        self.length += tokens
        return hidden

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

    def _settle(self, ask: Ask) -> tuple[Memory, np.ndarray]:
        """A memory that has room for the ask, and the rows of it that its rows carry on."""
        rows, tokens = ask.tokens_RT.shape
        texts_B = np.arange(self.texts) if ask.texts_B is None else np.asarray(ask.texts_B)
        parents_R = np.arange(rows) if ask.parents_R is None else np.asarray(ask.parents_R)
        if ask.keep is not None and self.memory is not None:
            self.length = min(self.length, ask.keep)
            self.memory.seen_RKM[:, self.length :] = False
        beams = rows // len(texts_B)
        old = self.memory
        stays = old is not None and ask.texts_B is None and beams == old.beams
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


def _is_simple(ask: Ask) -> bool:
    """Whether the best tokens of each row, as the pass found them, are the whole answer."""
    plain = ask.rows is None and ask.also_RK is None and not ask.hidden and not ask.edits
    return plain and ask.tokens_RT.shape[1] == 1 and ask.count is not None
