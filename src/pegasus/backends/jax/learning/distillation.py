"""What a student learns of a teacher in JAX; the formulas are those of the PyTorch backend.

Both passes stand in one program. Axes are those of ``layers``; N is a slice of positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from pegasus.backends.contract import IGNORED
from pegasus.backends.contract.learning import DistillationSettings
from pegasus.backends.jax.model.mode import Mode
from pegasus.errors import BadSetting, NotOffered
from pegasus.spec.config import PegasusConfig
from pegasus.spec.layer_maps import compared_layers

#: Below this a probability is taken for it: its logarithm is asked for.
_LEAST = 1e-9


@dataclass(frozen=True)
class Guide:
    """A teacher as a program knows it.

    Attributes:
        module: with a head.
        starts: its padding token and the one that its decoder starts from.
        settings: what is compared.
        layers: for each layer of the student's encoder, and of its decoder, one of the teacher's.
    """

    module: Any
    starts: tuple[int, int]
    settings: DistillationSettings
    layers: tuple[tuple[int, ...], tuple[int, ...]]

    @property
    def mode(self) -> Mode:
        """What the teacher's passes return."""
        return Mode(attentions=bool(self.settings.attentions), hidden=bool(self.settings.hidden_states))


def guide_of(teacher: Any, student: PegasusConfig, settings: DistillationSettings) -> Guide:
    """The teacher, checked.

    Raises:
        BadSetting: the two do not fit: other vocabularies, or layers that are not there.
        NotOffered: the teacher has no head.
    """
    if getattr(teacher, "kind", None) != "conditional":
        raise NotOffered("a teacher is an encoder with a decoder and a head: take a conditional model")
    config = teacher.config
    if config.vocab_size != student.vocab_size:
        raise BadSetting(
            f"the teacher knows {config.vocab_size:,} tokens and the student {student.vocab_size:,}: "
            "both must have one vocabulary"
        )
    names = ("encoder_layers", "decoder_layers")
    encoder, decoder = (
        _checked(name, getattr(config, name), getattr(student, name), getattr(settings, name))
        for name in names
    )
    starts = (config.pad_token_id or 0, config.decoder_start_token_id)
    return Guide(teacher.module, starts, settings, (encoder, decoder))


def _checked(name: str, teacher: int, student: int, layers: tuple[int, ...] | None) -> tuple[int, ...]:
    if layers is None:
        return tuple(compared_layers(teacher, student))
    if len(layers) != student or not all(0 <= layer < teacher for layer in layers):
        raise BadSetting(
            f"distillation.{name} is {list(layers)}: it names for each of the student's {student} layers "
            f"one of the teacher's, 0 to {teacher - 1}"
        )
    return tuple(layers)


def compared(
    guide: Guide, batch: Mapping[str, jax.Array], passes: Sequence[Any], wanted: Sequence[Any]
) -> dict[str, jax.Array]:
    """Differences of hidden states and of attentions, summed over the tokens.

    Args:
        guide: what is compared.
        batch: for the tokens that count.
        passes: the student's encoder's record and its decoder's.
        wanted: the teacher's.
    """
    counted = (batch["attention_mask"] != 0, batch["labels"] != IGNORED)
    sides = list(zip(passes, wanted, guide.layers, counted))
    found = {}
    if guide.settings.hidden_states:
        found["hidden_states"] = sum(
            (
                state_difference(one.hidden_states[i + 1], other.hidden_states[layer + 1], mask)
                / len(layers)
                for one, other, layers, mask in sides
                for i, layer in enumerate(layers)
            ),
            jnp.float32(0),
        )
    if guide.settings.attentions:
        found["attentions"] = sum(_attentions(sides), jnp.float32(0))
    return found


def state_difference(student_BTD: jax.Array, teacher_BTE: jax.Array, mask_BT: jax.Array) -> jax.Array:
    """How far states are from a teacher's: of normalized ones, or of the cosines between the tokens."""
    student, teacher = student_BTD.astype(jnp.float32), teacher_BTE.astype(jnp.float32)
    if student.shape == teacher.shape:
        one, other = (jax.nn.standardize(states, axis=-1, epsilon=1e-5) for states in (student, teacher))
        return (((one - other) ** 2).mean(-1) * mask_BT).sum()
    one, other = (
        states / jnp.sqrt((states**2).sum(-1, keepdims=True) + 1e-24) for states in (student, teacher)
    )
    apart_BTT = (one @ one.swapaxes(1, 2) - other @ other.swapaxes(1, 2)) ** 2 * mask_BT[:, None, :]
    each_BT = apart_BTT.sum(-1) / jnp.maximum(mask_BT.sum(-1, keepdims=True), 1)
    return (each_BT * mask_BT).sum()


def _attentions(sides: Sequence[tuple[Any, Any, tuple[int, ...], jax.Array]]) -> Iterator[jax.Array]:
    for one, other, layers, mask in sides:
        names = ("attentions", "cross_attentions")
        kinds = [name for name in names if getattr(one, name, None) is not None]
        for name in kinds:
            mine, wanted = getattr(one, name), getattr(other, name)
            for i, layer in enumerate(layers):
                yield attention_divergence(mine[i], wanted[layer], mask) / len(layers) / len(kinds)


def attention_divergence(student_BHTS: jax.Array, teacher_BGTS: jax.Array, mask_BT: jax.Array) -> jax.Array:
    """KL(teacher ‖ student) of where each token looks, mean over heads, sum over the tokens of a mask."""
    student, teacher = student_BHTS.astype(jnp.float32), teacher_BGTS.astype(jnp.float32)
    if student.shape[1] != teacher.shape[1]:
        student, teacher = student.mean(1, keepdims=True), teacher.mean(1, keepdims=True)
    ratio = jnp.log(jnp.maximum(teacher, _LEAST)) - jnp.log(jnp.maximum(student, _LEAST))
    return ((teacher * ratio).sum(-1).mean(1) * mask_BT).sum()


def divergence(student_NV: jax.Array, teacher_NV: jax.Array, temperature: float) -> jax.Array:
    """T² KL(teacher ‖ student) of each position's distributions at a temperature T."""
    mine, wanted = (jax.nn.log_softmax(logits / temperature) for logits in (student_NV, teacher_NV))
    return temperature**2 * (jnp.exp(wanted) * (wanted - mine)).sum(-1)
