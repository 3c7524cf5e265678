"""What tools that record a model need: graphs by ``torch.fx``, and records that PyTorch can take apart.

``torch.fx`` runs the model with proxies in place of tensors. A proxy has no dtype, device or length to
decide by, so where the code decides by them it asks ``traced`` and takes the way right for float32.
"""

from __future__ import annotations

import functools
from typing import Any

from torch.fx.proxy import Proxy
from torch.utils import _pytree

from pegasus.spec import outputs


def traced(values: Any) -> bool:
    """Whether these are values of a trace by ``torch.fx`` and not numbers."""
    return isinstance(values, Proxy)


@functools.cache
def register_records() -> None:
    """Let PyTorch take output records apart and put them together again; ``torch.export`` needs it."""
    for cls in outputs.ModelOutput.__subclasses__():
        _pytree.register_pytree_node(
            cls,
            lambda record: (list(record.values()), list(record)),
            functools.partial(_together, cls),
            serialized_type_name=f"pegasus.{cls.__name__}",
        )


def _together(cls: type, values: Any, names: Any) -> Any:
    return cls(**dict(zip(names, values)))
