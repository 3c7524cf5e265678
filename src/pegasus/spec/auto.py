"""AutoConfig: the import that finds a configuration by the name of a checkpoint."""

from __future__ import annotations

import os
from typing import Any

from pegasus.errors import NotOffered
from pegasus.spec.config import PegasusConfig

#: The kinds of models that are known, by name.
CONFIG_MAPPING: dict[str, type[PegasusConfig]] = {"pegasus": PegasusConfig}


class AutoConfig:
    """Knows the configuration of PEGASUS; it is never made itself."""

    def __init__(self) -> None:
        raise TypeError("AutoConfig is not made directly. Use AutoConfig.from_pretrained(name).")

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> PegasusConfig:
        """Load the configuration of a PEGASUS checkpoint; see :meth:`PegasusConfig.from_pretrained`."""
        kwargs.pop("trust_remote_code", None)  # there is no code in what this package loads
        config: PegasusConfig = PegasusConfig.from_pretrained(pretrained_model_name_or_path, **kwargs)
        return config

    @classmethod
    def for_model(cls, model_type: str, **kwargs: Any) -> PegasusConfig:
        """A fresh configuration.

        Raises:
            NotOffered: for another kind of model than "pegasus".
        """
        if model_type != "pegasus":
            raise NotOffered(
                f"AutoConfig knows 'pegasus', not {model_type!r}. Use that model's own package."
            )
        return PegasusConfig(**kwargs)
