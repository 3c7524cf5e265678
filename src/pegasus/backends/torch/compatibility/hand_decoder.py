"""A decoder that goes through ``prepare_inputs_for_generation`` and the model's ``forward`` at every step.

Slower than ``decoder``, and only for those who put something of their own in between: a subclass that
overrules ``prepare_inputs_for_generation``, or an adapter of ``peft`` that brings virtual tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pegasus.backends.torch.compatibility.stepping import CausalStepping, Stepping
from pegasus.backends.torch.inference.scores import TorchScores
from pegasus.errors import NotOffered
from pegasus.generation.model_inputs import Request
from pegasus.generation.session import Reading, Step
from pegasus.spec.outputs import BaseModelOutput

_OWN = (Stepping.prepare_inputs_for_generation, CausalStepping.prepare_inputs_for_generation)
_MASKS = ("head_mask", "decoder_head_mask", "cross_attn_head_mask")


def overruled(model: Any) -> bool:
    """Whether somebody's ``prepare_inputs_for_generation`` makes other inputs than ours does."""
    usual = type(model).prepare_inputs_for_generation
    if usual not in _OWN:
        return True
    hook = model.__dict__.get("prepare_inputs_for_generation")
    if hook is None or getattr(hook, "__func__", None) is usual:
        return False
    # peft puts one in place for every adapter; most of them change nothing.
    ids, first = torch.zeros((1, 1), dtype=torch.long, device=model.device), {"use_cache": True}
    plain, made = usual(model, ids, **first), hook(ids, **first)
    made.pop("task_ids", None)
    return plain.keys() != made.keys() or any(_differ(plain[name], made[name]) for name in plain)


def _differ(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return not torch.equal(one, other)
    return one is not other


class HandDecoder:
    """Everything is kept for each row, and moves with it.

    Args:
        model: the model with its head.
        request: masks, and what is to be recorded.
        states_BSD: what cross-attention looks at; None: the decoder stands alone.
        mask_BS: its padding.
    """

    def __init__(
        self, model: Any, request: Request, states_BSD: Tensor | None, mask_BS: Tensor | None
    ) -> None:
        self.model, self.request = model, request
        self.vocab_size = int(model.config.vocab_size)
        self.causal = model.kind == "causal"
        self.encoded = Reading()
        self.logits_NV: Tensor | None = None
        self.memory: Any = request.past_key_values
        #: By name what each row has: its tokens, its text's states and their mask.
        self.rows: dict[str, Tensor | None] = {"ids": None, "states": states_BSD, "mask": mask_BS}

    @property
    def length(self) -> int:
        """How many places each row remembers."""
        ids = self.rows["ids"]
        return 0 if ids is None else int(ids.shape[1])

    def computing(self) -> Any:
        """No gradients."""
        return torch.no_grad()

    def step(self, step: Step) -> Reading:
        """Reads tokens."""
        if step.keep < self.length:
            raise NotOffered(
                "drafting takes back what it read, which an overruled prepare_inputs_for_generation may not"
            )
        if step.parents_R is not None:
            self._move(self._index(step.parents_R))
        tokens_RT, ids = self._index(step.tokens_RT), self.rows["ids"]
        self._spread(len(tokens_RT))
        self.rows["ids"] = tokens_RT if ids is None else torch.cat([ids, tokens_RT], dim=1)
        records = self.request.records
        output = self.model(
            **self._inputs(step, first=ids is None),
            output_attentions=records.attentions,
            output_hidden_states=records.hidden_states or step.hidden,
            return_dict=True,
        )
        self.memory = output.past_key_values
        self.logits_NV = output.logits[:, -step.positions :].flatten(0, 1).float()
        side = "" if self.causal else "decoder_"
        states = getattr(output, f"{side}hidden_states")
        return Reading(
            states[-1].float().cpu().numpy() if step.hidden else None,
            getattr(output, f"{side}attentions"),
            output.cross_attentions,
            states if records.hidden_states else None,
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

    def _inputs(self, step: Step, first: bool) -> dict[str, Any]:
        given: dict[str, Any] = {name: getattr(self.request, name) for name in _MASKS}
        own = None if step.mask_RT is None else self._index(step.mask_RT)
        if self.causal:
            given |= {"attention_mask": own, "encoder_hidden_states": self.rows["states"]}
            given["encoder_attention_mask"] = self.rows["mask"]
        else:
            given |= {"attention_mask": self.rows["mask"], "decoder_attention_mask": own}
            given["encoder_outputs"] = BaseModelOutput(last_hidden_state=self.rows["states"])
        prepare = self.model.prepare_inputs_for_generation
        made: dict[str, Any] = prepare(
            self.rows["ids"], past_key_values=self.memory, use_cache=True, is_first_iteration=first, **given
        )
        return made

    def _move(self, parents_R: Tensor) -> None:
        self.rows = {
            name: None if value is None else value.index_select(0, parents_R)
            for name, value in self.rows.items()
        }
        if self.memory is not None:
            self.memory = self.model._reorder_cache(self.memory, parents_R)

    def _spread(self, rows: int) -> None:
        """What came once for each text, for each of its rows."""
        for name, value in self.rows.items():
            if value is not None and len(value) != rows:
                self.rows[name] = value.repeat_interleave(rows // len(value), dim=0)

    def _index(self, numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(numbers)).to(self.model.device)
