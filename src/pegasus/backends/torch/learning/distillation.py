"""What a student learns of a teacher that reads and writes the same: logits, hidden states, attentions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from pegasus.backends.contract import IGNORED
from pegasus.backends.torch.learning.loss import chunked_divergence
from pegasus.backends.torch.model.heads import shift_tokens_right
from pegasus.errors import BadSetting, NotOffered
from pegasus.spec.layer_maps import compared_layers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jaxtyping import Float, Int

    from pegasus.backends.contract.learning import DistillationSettings
    from pegasus.spec.config import PegasusConfig

#: Below this a probability is taken for it: its logarithm is asked for.
_LEAST = 1e-9


class Teacher:
    """A model that does not learn, and what a student's passes are compared with.

    Args:
        model: the teacher; it is put into evaluation mode.
        student: the configuration of what learns.
        settings: what is compared.

    Raises:
        BadSetting: the two do not fit: other vocabularies, or layers that are not there.
        NotOffered: one of them is no encoder with a decoder.
    """

    def __init__(self, model: Any, student: PegasusConfig, settings: DistillationSettings) -> None:
        if model.kind != "conditional":
            raise NotOffered("a teacher is an encoder with a decoder: a causal model can have none")
        self.model, self.settings = model.eval().requires_grad_(False), settings
        config = model.config
        if config.vocab_size != student.vocab_size:
            raise BadSetting(
                f"the teacher knows {config.vocab_size:,} tokens and the student {student.vocab_size:,}: "
                "both must have one vocabulary"
            )
        given = settings.encoder_layers, settings.decoder_layers
        counts = ("encoder_layers", "decoder_layers")
        self.encoder_layers, self.decoder_layers = (
            _checked(name, getattr(config, name), getattr(student, name), layers)
            for name, layers in zip(counts, given)
        )

    @property
    def asked(self) -> dict[str, bool]:
        """What the passes of both models have to record."""
        return {
            "output_hidden_states": bool(self.settings.hidden_states),
            "output_attentions": bool(self.settings.attentions),
        }

    def sums(
        self, student: Any, batch: Mapping[str, Tensor], encoded: Any, decoded: Any
    ) -> dict[str, Float[Tensor, ""]]:
        """The sums over tokens of the parts that the settings weigh.

        Args:
            student: the model.
            batch: what ``learner.to_device`` made.
            encoded: the record of its encoder, made with ``asked``.
            decoded: that of its decoder.
        """
        with torch.no_grad():
            mine, said = self._passes(batch)
        found = {}
        if self.settings.logits:
            found["logits"] = self._logits(student, batch, decoded.last_hidden_state, said)
        sides = (
            (encoded, mine, self.encoder_layers, _seen(batch)),
            (decoded, said, self.decoder_layers, batch["labels"] != IGNORED),
        )
        if self.settings.hidden_states:
            found["hidden_states"] = torch.stack(
                [
                    state_difference(one.hidden_states[i + 1], other.hidden_states[layer + 1], mask)
                    / len(layers)
                    for one, other, layers, mask in sides
                    for i, layer in enumerate(layers)
                ]
            ).sum()
        if self.settings.attentions:
            found["attentions"] = torch.stack(list(_attentions(sides))).sum()
        return found

    def _passes(self, batch: Mapping[str, Tensor]) -> tuple[Any, Any]:
        mask, config = batch.get("attention_mask"), self.model.config
        encoded = self.model.get_encoder()(batch["input_ids"], mask, return_dict=True, **self.asked)
        given = shift_tokens_right(batch["labels"], config.pad_token_id, config.decoder_start_token_id)
        decoded = self.model.get_decoder()(
            input_ids=given,
            encoder_hidden_states=encoded.last_hidden_state,
            encoder_attention_mask=mask,
            use_cache=False,
            return_dict=True,
            **self.asked,
        )
        return encoded, decoded

    def _logits(self, student: Any, batch: Mapping[str, Tensor], states: Tensor, said: Any) -> Tensor:
        places = batch["labels_places"]
        wanted = said.last_hidden_state.flatten(0, 1)[places]
        bias = getattr(student, "final_logits_bias", None)
        return chunked_divergence(
            states.flatten(0, 1)[places],
            student.get_output_embeddings().weight,
            partial(_teacher_logits, self.model, wanted),
            self.settings.temperature,
            bias_V=None if bias is None else bias[0],
            pad=student.config.pad_token_id,
        )


def _teacher_logits(model: Any, states: Tensor, rows: slice) -> Tensor:
    weight, bias = model.get_output_embeddings().weight, getattr(model, "final_logits_bias", None)
    # In the type of the states: autocast is off where this is called.
    logits = functional.linear(states[rows], weight.to(states.dtype)).float()
    return logits if bias is None else logits + bias[0]


def _checked(name: str, teacher: int, student: int, layers: tuple[int, ...] | None) -> tuple[int, ...]:
    if layers is None:
        return compared_layers(teacher, student)
    if len(layers) != student or not all(0 <= layer < teacher for layer in layers):
        raise BadSetting(
            f"distillation.{name} is {list(layers)}: it names for each of the student's {student} layers "
            f"one of the teacher's, 0 to {teacher - 1}"
        )
    return layers


def _seen(batch: Mapping[str, Tensor]) -> Tensor:
    mask = batch.get("attention_mask")
    return torch.ones_like(batch["input_ids"], dtype=torch.bool) if mask is None else mask != 0


def state_difference(
    student_BTD: Float[Tensor, "B T D"],
    teacher_BTE: Float[Tensor, "B T E"],
    mask_BT: Int[Tensor, "B T"],
) -> Float[Tensor, ""]:
    """How far the states of the tokens under a mask are from a teacher's, summed over the tokens.

    Both are normalized to a mean of 0 and a variance of 1, and the mean over the width of the squares of
    differences is taken. Where the widths differ the cosines between the tokens of a text are compared
    instead, the mean over its tokens of squares.
    """
    student, teacher = student_BTD.float(), teacher_BTE.float()
    if student.shape == teacher.shape:
        one, other = (functional.layer_norm(states, states.shape[-1:]) for states in (student, teacher))
        return (((one - other) ** 2).mean(-1) * mask_BT).sum()
    one, other = (functional.normalize(states, dim=-1) for states in (student, teacher))
    apart_BTT = (one @ one.mT - other @ other.mT) ** 2 * mask_BT[:, None, :]
    each_BT = apart_BTT.sum(-1) / mask_BT.sum(-1, keepdim=True).clamp(min=1)
    return (each_BT * mask_BT).sum()


def _attentions(sides: Sequence[tuple[Any, Any, tuple[int, ...], Tensor]]) -> Iterator[Tensor]:
    for one, other, layers, mask in sides:
        kinds = [
            name for name in ("attentions", "cross_attentions") if getattr(one, name, None) is not None
        ]
        for name in kinds:
            mine, wanted = getattr(one, name), getattr(other, name)
            for i, layer in enumerate(layers):
                yield attention_divergence(mine[i], wanted[layer], mask) / len(layers) / len(kinds)


def attention_divergence(
    student_BHTS: Float[Tensor, "B H T S"],
    teacher_BGTS: Float[Tensor, "B G T S"],
    mask_BT: Int[Tensor, "B T"],
) -> Float[Tensor, ""]:
    """KL(teacher ‖ student) of where each token looks: the mean over heads, the sum over unmasked tokens.

    Where the numbers of heads differ, the mean of the heads' probabilities is compared.
    """
    student, teacher = student_BHTS.float(), teacher_BGTS.float()
    if student.shape[1] != teacher.shape[1]:
        student, teacher = student.mean(1, keepdim=True), teacher.mean(1, keepdim=True)
    ratio = teacher.clamp(min=_LEAST).log() - student.clamp(min=_LEAST).log()
    return ((teacher * ratio).sum(-1).mean(1) * mask_BT).sum()
