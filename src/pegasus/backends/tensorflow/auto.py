"""TFAutoModelForSeq2SeqLM: the import that finds a model's class by the name of a checkpoint."""

from __future__ import annotations

import os
from typing import Any

from pegasus.backends.tensorflow.model.tf_classes import TFPegasusForConditionalGeneration
from pegasus.spec.config import PegasusConfig


class TFAutoModelForSeq2SeqLM:
    """:class:`TFPegasusForConditionalGeneration`; it is never made itself."""

    def __init__(self) -> None:
        name = type(self).__name__
        raise TypeError(f"{name} is not made directly. Use {name}.from_pretrained(name) or .from_config.")

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *model_args: Any, **kwargs: Any
    ) -> Any:
        """Load a PEGASUS checkpoint; takes the keywords of the model's own ``from_pretrained``."""
        kwargs.pop("trust_remote_code", None)  # there is no code in what this package loads
        return TFPegasusForConditionalGeneration.from_pretrained(
            pretrained_model_name_or_path, *model_args, **kwargs
        )

    @classmethod
    def from_config(cls, config: PegasusConfig, **kwargs: Any) -> TFPegasusForConditionalGeneration:
        """A model with fresh weights.

        Raises:
            BadSetting: when it is no configuration of PEGASUS.
        """
        kwargs.pop("trust_remote_code", None)
        return TFPegasusForConditionalGeneration(config, **kwargs)
