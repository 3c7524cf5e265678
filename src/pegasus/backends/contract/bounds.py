"""Which numbers make sense as settings of learning; others are refused where the settings are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pegasus.errors import BadSetting
from pegasus.spec.kinds import Kind, listing, maybe, number, refusals, whole

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

#: NumPy and PyTorch take seeds of so many bits, also when the number of a process is added.
SEED = whole(0, 2**32 - 1)
_BELOW_ONE = Kind(
    "a number of at least 0 and below 1", lambda value: number(0, 1).fits(value) and value < 1
)
_RATE = number(0, 100, above=True)

OPTIM: Mapping[str, Kind] = {
    "rate": _RATE,
    "others_rate": maybe(_RATE),
    "warmup_steps": whole(0, 10**9),
    "steps": whole(0, 10**9),
    "decay": number(0, 1, above=True),
    "clip_norm": maybe(number(0, 1e9, above=True)),
    "weight_decay": number(0, 100),
    "betas": maybe(
        Kind(
            "two numbers of at least 0 and below 1",
            lambda value: len(value) == 2 and all(map(_BELOW_ONE.fits, value)),
        )
    ),
    "eps": number(0, 1, above=True),
}
LORA: Mapping[str, Kind] = {
    "rank": whole(1, 4096),
    "alpha": number(0, 1e6, above=True),
    "dropout": _BELOW_ONE,
    "targets": listing(Kind("a name", lambda value: isinstance(value, str) and bool(value)), least=1),
}
_LAYERS = maybe(listing(whole(0, 999), least=1))
DISTILLATION: Mapping[str, Kind] = {
    "logits": number(0, 1e6),
    "temperature": number(0, 1e3, above=True),
    "hidden_states": number(0, 1e6),
    "attentions": number(0, 1e6),
    "encoder_layers": _LAYERS,
    "decoder_layers": _LAYERS,
}
OBJECTIVE: Mapping[str, Kind] = {
    "parts": Kind(
        "a list of at least one part, each once", lambda value: 0 < len(value) == len(set(value))
    ),
    "label_smoothing": _BELOW_ONE,
    "mlm_weight": number(0, 1e6),
    "target_weight": number(0, 1e6),
    "seed": SEED,
}


def check_bounds(settings: DataclassInstance, bounds: Mapping[str, Kind]) -> None:
    """Refuse settings that no learning can use.

    Raises:
        BadSetting: names everything that is out of its bounds.
    """
    values: dict[str, Any] = {name: getattr(settings, name) for name in bounds}
    if problems := list(refusals(values, bounds)):
        raise BadSetting("; ".join(problems))
