"""The imports that find a model's class by the name of a checkpoint: what they share in every framework."""

from __future__ import annotations

import os
from typing import Any, Generic, TypeVar

from pegasus.checkpoint.pretrained import PretrainedMixin
from pegasus.errors import BadSetting
from pegasus.spec.config import PegasusConfig

M = TypeVar("M", bound=PretrainedMixin)


class Auto(Generic[M]):
    """One head of PEGASUS under the name that works for any model elsewhere; it is never made itself."""

    head: type[M]

    def __init__(self) -> None:
        name = type(self).__name__
        raise TypeError(f"{name} is not made directly. Use {name}.from_pretrained(name) or .from_config.")

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *model_args: Any, **kwargs: Any
    ) -> M:
        """Load a PEGASUS checkpoint; takes the keywords of the model's own ``from_pretrained``.

        Raises:
            CheckpointMismatch: when it is the checkpoint of another kind of model.
        """
        kwargs.pop("trust_remote_code", None)  # there is no code in what this package loads
        model: M = cls.head.from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)
        return model

    @classmethod
    def from_config(cls, config: PegasusConfig, **kwargs: Any) -> M:
        """A model with fresh weights.

        Raises:
            BadSetting: when it is no configuration of PEGASUS.
        """
        kwargs.pop("trust_remote_code", None)
        if not isinstance(config, PegasusConfig):
            raise BadSetting(
                f"{cls.__name__} knows PegasusConfig, not {type(config).__name__}. Use its own package."
            )
        make: Any = cls.head
        model: M = make(config, **kwargs)
        return model
