"""What a model's forward pass returns, under the names of transformers 4.34.

A record is a dictionary, an object with attributes and a tuple at once: ``out.logits``, ``out["logits"]``,
``out[0]``, ``out.to_tuple()``. Fields that were not asked for are None as attributes and absent as keys
and items. The arrays belong to whichever framework made them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any


class ModelOutput(dict):
    """The base of all output records; see the module's text."""

    def __post_init__(self) -> None:
        self._unpack()
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value is not None:
                dict.__setitem__(self, field.name, value)

    def _unpack(self) -> None:
        """Take a mapping, or pairs, in place of fields: so do tools rebuild a dictionary of any type.

        ``type(out)({name: half(value) ...})`` is what accelerate does to a model's output, and
        ``type(out)((name, gather(...)) ...)`` what PyTorch's DataParallel does.
        """
        first = fields(self)[0].name  # type: ignore[arg-type]
        given = getattr(self, first)
        if isinstance(given, Mapping | Iterator):
            setattr(self, first, None)
            for name, value in dict(given).items():
                if name not in type(self).__dataclass_fields__:  # type: ignore[attr-defined]
                    raise TypeError(f"{type(self).__name__} has no field {name!r}")
                setattr(self, name, value)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return dict.__getitem__(self, key)
        return self.to_tuple()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        dict.__setitem__(self, key, value)
        object.__setattr__(self, key, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if value is not None and name in self:
            dict.__setitem__(self, name, value)
        object.__setattr__(self, name, value)

    def __delitem__(self, key: str) -> None:
        raise TypeError(
            f"a field of {type(self).__name__} cannot be deleted: set it to another value instead"
        )

    def _refused(self, *args: Any, **kwargs: Any) -> Any:
        """What would change the keys and leave the attributes as they are."""
        raise TypeError(
            f"{type(self).__name__} is a record: set its fields, or change dict(record) instead"
        )

    pop = popitem = clear = update = setdefault = _refused

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), {field.name: getattr(self, field.name) for field in fields(self)}))  # type: ignore[arg-type]

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that are not None, in order."""
        return tuple(dict.values(self))


def _rebuild(cls: type[ModelOutput], values: dict[str, Any]) -> ModelOutput:
    return cls(**values)


@dataclass(eq=False, repr=True)
class BaseModelOutput(ModelOutput):
    """What an encoder returns.

    Attributes:
        last_hidden_state: [B, S, D] after the final layer norm.
        hidden_states: one [B, S, D] for the embeddings and one after each layer.
        attentions: one [B, H, S, S] a layer.
    """

    last_hidden_state: Any = None
    hidden_states: tuple[Any, ...] | None = None
    attentions: tuple[Any, ...] | None = None


@dataclass(eq=False, repr=True)
class BaseModelOutputWithPastAndCrossAttentions(ModelOutput):
    """What a decoder returns.

    Attributes:
        last_hidden_state: [B, T, D] after the final layer norm.
        past_key_values: per layer the keys and values of self-attention [B, H, T, E], then, where there
            is an encoder, those of cross-attention [B, H, S, E].
        hidden_states: one [B, T, D] for the embeddings and one after each layer.
        attentions: one [B, H, T, T] a layer.
        cross_attentions: one [B, H, T, S] a layer.
    """

    last_hidden_state: Any = None
    past_key_values: tuple[tuple[Any, ...], ...] | None = None
    hidden_states: tuple[Any, ...] | None = None
    attentions: tuple[Any, ...] | None = None
    cross_attentions: tuple[Any, ...] | None = None


@dataclass(eq=False, repr=True)
class Seq2SeqModelOutput(ModelOutput):
    """What the bare encoder-decoder returns; shapes as in the two records above."""

    last_hidden_state: Any = None
    past_key_values: tuple[tuple[Any, ...], ...] | None = None
    decoder_hidden_states: tuple[Any, ...] | None = None
    decoder_attentions: tuple[Any, ...] | None = None
    cross_attentions: tuple[Any, ...] | None = None
    encoder_last_hidden_state: Any = None
    encoder_hidden_states: tuple[Any, ...] | None = None
    encoder_attentions: tuple[Any, ...] | None = None


@dataclass(eq=False, repr=True)
class Seq2SeqLMOutput(ModelOutput):
    """What the encoder-decoder with a language-modelling head returns.

    Attributes:
        loss: mean cross-entropy over the labels that are not -100, when labels were given.
        logits: [B, T, V].
    """

    loss: Any = None
    logits: Any = None
    past_key_values: tuple[tuple[Any, ...], ...] | None = None
    decoder_hidden_states: tuple[Any, ...] | None = None
    decoder_attentions: tuple[Any, ...] | None = None
    cross_attentions: tuple[Any, ...] | None = None
    encoder_last_hidden_state: Any = None
    encoder_hidden_states: tuple[Any, ...] | None = None
    encoder_attentions: tuple[Any, ...] | None = None


@dataclass(eq=False, repr=True)
class CausalLMOutputWithCrossAttentions(ModelOutput):
    """What the stand-alone decoder with a language-modelling head returns; see ``Seq2SeqLMOutput``."""

    loss: Any = None
    logits: Any = None
    past_key_values: tuple[tuple[Any, ...], ...] | None = None
    hidden_states: tuple[Any, ...] | None = None
    attentions: tuple[Any, ...] | None = None
    cross_attentions: tuple[Any, ...] | None = None


def encoder_record(outputs: Any) -> BaseModelOutput:
    """What an encoder returned as our record: ours already, one of another library, or a tuple."""
    if isinstance(outputs, BaseModelOutput):
        return outputs
    return BaseModelOutput(*(outputs.values() if isinstance(outputs, dict) else outputs))
