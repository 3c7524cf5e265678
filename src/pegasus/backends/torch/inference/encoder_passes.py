"""Passes of the encoder that are recorded as CUDA graphs, by the size of what they read.

``model.static_encoder`` is True, False or None, which means ``AUTO``. Sizes are rounded up to few: texts as
those of ``static_cache``, sources and tokens to buckets. What is larger than ``RECORDED`` tokens is
computed without recording, in its own size: there a GPU is busy, and launching costs nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pegasus.backends.torch.inference.kernel_choice import Choice
from pegasus.backends.torch.inference.static_cache import SOURCE_STEP, step_of
from pegasus.backends.torch.inference.static_encoder import EncoderWeights, Packed, encode, prepare
from pegasus.backends.torch.inference.static_weights import fingerprint

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from pegasus.generation.model_inputs import Request

#: What None means on a GPU; elsewhere False. None has run a recorded encoder yet (decision 14).
AUTO = False
#: The most tokens of a pass that is recorded.
RECORDED = 16_384
#: How many sizes are kept.
KEPT = 32


def fits(model: Any, request: Request) -> bool:
    """Whether the encoder of this model can be a recorded pass for this request, and is wanted to be."""
    wanted = getattr(model, "static_encoder", None)
    if wanted is None:
        wanted = AUTO and model.device.type == "cuda"
    if not wanted or model.kind != "conditional" or model.training:
        return False
    special = request.records.any or request.head_mask is not None or request.inputs_embeds is not None
    # The decoder's too: its weights are prepared with it.
    parts = (part for stack in (model.get_encoder(), model.get_decoder()) for part in stack.modules())
    linears = (type(part) for part in parts if hasattr(part, "in_features"))
    plain = all(kind is nn.Linear for kind in linears) and not model.config.pruned_heads
    return plain and not special and not torch.is_autocast_enabled(model.device.type)


def lengths_of(ids_BS: Int[Tensor, "B S"], mask_BS: Tensor | None) -> np.ndarray | None:
    """How many tokens each text has, behind which is padding only; None where that is not so."""
    texts, source = ids_BS.shape
    if mask_BS is None:
        return np.full(texts, source)
    if mask_BS.shape != ids_BS.shape:
        return None
    tokens_BS = mask_BS != 0
    lengths_B = tokens_BS.sum(dim=1)
    plain = (tokens_BS == (torch.arange(source, device=lengths_B.device) < lengths_B[:, None])).all()
    numbers = torch.cat([lengths_B, plain[None].to(lengths_B.dtype)]).cpu().numpy()
    return numbers[:-1] if numbers[-1] and numbers[:-1].all() else None


class EncoderPass:
    """Encoding batches of one size."""

    def __init__(
        self, weights: EncoderWeights, packed: Packed, choice: Choice, pool: Any, recorded: bool
    ) -> None:
        self.weights, self.packed, self.choice, self.pool = weights, packed, choice, pool
        self.positions_SD = weights.positions(packed.source)
        self.recorded, self.runs, self.graph = recorded, 0, None
        self.states_BSD: Tensor

    def run(self, ids_BS: Int[Tensor, "B S"], lengths_B: np.ndarray) -> Float[Tensor, "B S D"]:
        """The states of a batch; the caller's own."""
        self.packed.tell(ids_BS, lengths_B)
        self.runs += 1
        if self.recorded and self.runs == 2:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph, pool=self.pool):
                self._compute()
        if self.graph is not None:
            self.graph.replay()
        else:
            self._try()
        return self.states_BSD[: ids_BS.shape[0], : ids_BS.shape[1]].clone()

    @property
    def kernels(self) -> bool:
        """Whether Triton computes; not in float32, whose products there take no tensor cores."""
        return self.choice.name == "triton" and self.weights.dtype.itemsize == 2

    def _try(self) -> None:
        """Computes; in PyTorch's operations where kernels do not compile."""
        if not self.kernels or self.runs > 1:
            return self._compute()
        try:
            self._compute()
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # compilers fail in many ways: theirs, the linker's, the driver's
            self.choice.failed(error)
            self._compute()

    def _compute(self) -> None:
        self.states_BSD = encode(self.weights, self.packed, self.positions_SD, self.kernels)


class EncoderPasses:
    """The passes of one model, those used longest ago dropped."""

    def __init__(self) -> None:
        self._passes: OrderedDict[tuple[Any, ...], EncoderPass] = OrderedDict()
        self._weights: EncoderWeights | None = None
        self._made_of: tuple[Any, ...] = ()
        self._pool: Any = None

    def encode(
        self, model: Any, ids_BS: Int[Tensor, "B S"], lengths_B: np.ndarray, choice: Choice
    ) -> Float[Tensor, "B S D"]:
        """The states of a batch; those of padding are any numbers."""
        weights = self._weights_of(model)
        texts, source = ids_BS.shape
        tokens = int(lengths_B.sum())
        room, device = -(-source // SOURCE_STEP) * SOURCE_STEP, ids_BS.device
        if device.type != "cuda" or tokens > RECORDED:
            return EncoderPass(weights, Packed(texts, room, tokens, device), choice, None, False).run(
                ids_BS, lengths_B
            )
        size = step_of(texts), room, min(_bucket(tokens), step_of(texts) * room)
        key = (*size, choice.name)
        if key not in self._passes:
            self._passes[key] = EncoderPass(weights, Packed(*size, device), choice, self._pool, True)
            if len(self._passes) > KEPT:
                self._passes.popitem(last=False)
        self._passes.move_to_end(key)
        return self._passes[key].run(ids_BS, lengths_B)

    def _weights_of(self, model: Any) -> EncoderWeights:
        now = fingerprint(model.get_encoder().parameters())
        if self._weights is None or now != self._made_of:
            self._passes.clear()
            self._weights, self._made_of = prepare(model), now
            on_gpu = self._weights.table_VD.device.type == "cuda"
            # One for all: each pass's states are copied before another one runs.
            self._pool = torch.cuda.graph_pool_handle() if on_gpu else None
        return self._weights


def _bucket(tokens: int) -> int:
    """Multiples of 64, and of an eighth of the power of two above where that is more."""
    step = max(SOURCE_STEP, (1 << (tokens - 1).bit_length()) // 8)
    return -(-tokens // step) * step
