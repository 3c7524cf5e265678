"""AutoConfig: the import that finds a configuration by the name of a checkpoint."""

from __future__ import annotations

import os
from typing import Any, NoReturn

from pegasus.errors import NotOffered
from pegasus.spec.config import PegasusConfig

_OURS = ("pegasus", "bigbird_pegasus")


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


class _Absent:
    """A class of a framework that has no backend in this version."""

    framework = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._refuse()

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused.

        Raises:
            NotOffered: always.
        """
        cls._refuse()

    from_config = from_pretrained

    @classmethod
    def _refuse(cls) -> NoReturn:
        raise NotOffered(
            f"{cls.__name__}: this version computes with PyTorch, JAX or alone, not with {cls.framework}. "
            "Use AutoModelForSeq2SeqLM."
        )


class TFAutoModelForSeq2SeqLM(_Absent):
    """PEGASUS in TensorFlow: not in this version."""

    framework = "TensorFlow"
