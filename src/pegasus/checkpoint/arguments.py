"""Arguments of loading and saving that are refused by name, and those that have no effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pegasus.errors import UnsupportedArgument

GUIDE = "docs/coming-from-transformers.md tells what to use instead."

#: Arguments of transformers that are refused when they ask for something: name → what to do.
REFUSED_ON_LOAD: dict[str, str] = {
    "load_in_8bit": "load with dtype='bfloat16'",
    "load_in_4bit": "load with dtype='bfloat16'",
    "quantization_config": "load with dtype='bfloat16'",
    "trust_remote_code": "no code is ever taken from a checkpoint here; leave it out",
    "code_revision": "no code is ever taken from a checkpoint here; leave it out",
    "use_flash_attention_2": "leave it out, the fastest attention that PyTorch has here is chosen",
    "adapter_kwargs": "merge the adapter into the weights first",
    "adapter_name": "merge the adapter into the weights first",
}
#: Arguments whose effect is always there, or that have none.
NO_EFFECT_ON_LOAD = (
    *("low_cpu_mem_usage", "weights_only", "offload_state_dict", "tp_plan"),
    *("_fast_init", "_from_auto", "_from_pipeline", "_commit_hash"),
)
#: How attention may be computed; what is chosen here is the fastest that gives the numbers of both.
_ATTENTION = (None, "eager", "sdpa")
NO_EFFECT_ON_SAVE = ("save_peft_format", "save_original_format")


def check_arguments(model_args: Sequence[Any], attn_implementation: str | None) -> None:
    """Refuses arguments without a name, and kinds of attention that are not exact."""
    if model_args:
        raise UnsupportedArgument(
            f"{len(model_args)} arguments without a name were given: name them. {GUIDE}"
        )
    if attn_implementation not in _ATTENTION:
        raise UnsupportedArgument(
            f"`attn_implementation={attn_implementation!r}` is not taken here: leave it out, the fastest "
            f"attention that PyTorch has here is chosen. {GUIDE}"
        )


def refuse(kwargs: dict[str, Any], refused: Mapping[str, str], no_effect: Sequence[str]) -> None:
    """Takes known arguments out of ``kwargs``: those that ask for nothing silently, the others never."""
    for name in no_effect:
        kwargs.pop(name, None)
    for name, advice in refused.items():
        if kwargs.pop(name, None):
            raise UnsupportedArgument(f"`{name}` is not taken here: {advice}. {GUIDE}")
