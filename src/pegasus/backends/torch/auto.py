"""AutoModel and its kin: the imports that find a model's class by the name of a checkpoint."""

from __future__ import annotations

from pegasus.backends.torch.model.causal import PegasusForCausalLM
from pegasus.backends.torch.model.heads import (
    PegasusForConditionalGeneration,
    PegasusModel,
)
from pegasus.checkpoint.auto import Auto
from pegasus.spec.config import PegasusConfig


class AutoModel(Auto[PegasusModel]):
    """:class:`PegasusModel`, without a head."""

    head = PegasusModel


class AutoModelForSeq2SeqLM(Auto[PegasusForConditionalGeneration]):
    """:class:`PegasusForConditionalGeneration`."""

    head = PegasusForConditionalGeneration


class AutoModelForCausalLM(Auto[PegasusForCausalLM]):
    """:class:`PegasusForCausalLM`, the decoder alone."""

    head = PegasusForCausalLM


#: The class of a model by that of its configuration, for each kind of head.
MODEL_MAPPING: dict[type[PegasusConfig], type[PegasusModel]] = {PegasusConfig: PegasusModel}
MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING: dict[type[PegasusConfig], type[PegasusForConditionalGeneration]] = {
    PegasusConfig: PegasusForConditionalGeneration
}
MODEL_FOR_CAUSAL_LM_MAPPING: dict[type[PegasusConfig], type[PegasusForCausalLM]] = {
    PegasusConfig: PegasusForCausalLM
}
