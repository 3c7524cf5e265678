"""PEGASUS: abstractive summarization, from pre-training to serving.

Every public name is imported when it is first used, so that ``import pegasus`` loads no framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import AddedToken as AddedToken

    from pegasus.backends.bridges.packed_torch import (
        PackedForConditionalGeneration as PackedForConditionalGeneration,
    )
    from pegasus.backends.jax.auto import FlaxAutoModelForSeq2SeqLM as FlaxAutoModelForSeq2SeqLM
    from pegasus.backends.jax.model.flax_classes import (
        FlaxPegasusForConditionalGeneration as FlaxPegasusForConditionalGeneration,
        FlaxPegasusModel as FlaxPegasusModel,
    )
    from pegasus.backends.tensorflow.auto import TFAutoModelForSeq2SeqLM as TFAutoModelForSeq2SeqLM
    from pegasus.backends.tensorflow.model.tf_classes import (
        TFPegasusForConditionalGeneration as TFPegasusForConditionalGeneration,
        TFPegasusModel as TFPegasusModel,
    )
    from pegasus.backends.torch.auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING as MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING as MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
        MODEL_MAPPING as MODEL_MAPPING,
        AutoModel as AutoModel,
        AutoModelForCausalLM as AutoModelForCausalLM,
        AutoModelForSeq2SeqLM as AutoModelForSeq2SeqLM,
    )
    from pegasus.backends.torch.compatibility.adafactor import Adafactor as Adafactor
    from pegasus.backends.torch.compatibility.adamw import AdamW as AdamW
    from pegasus.backends.torch.compatibility.logits_processors import (
        EncoderNoRepeatNGramLogitsProcessor as EncoderNoRepeatNGramLogitsProcessor,
        EncoderRepetitionPenaltyLogitsProcessor as EncoderRepetitionPenaltyLogitsProcessor,
        ExponentialDecayLengthPenalty as ExponentialDecayLengthPenalty,
        ForcedBOSTokenLogitsProcessor as ForcedBOSTokenLogitsProcessor,
        ForcedEOSTokenLogitsProcessor as ForcedEOSTokenLogitsProcessor,
        ForceTokensLogitsProcessor as ForceTokensLogitsProcessor,
        HammingDiversityLogitsProcessor as HammingDiversityLogitsProcessor,
        InfNanRemoveLogitsProcessor as InfNanRemoveLogitsProcessor,
        LogitNormalization as LogitNormalization,
        LogitsProcessor as LogitsProcessor,
        LogitsProcessorList as LogitsProcessorList,
        LogitsWarper as LogitsWarper,
        MinLengthLogitsProcessor as MinLengthLogitsProcessor,
        MinNewTokensLengthLogitsProcessor as MinNewTokensLengthLogitsProcessor,
        NoBadWordsLogitsProcessor as NoBadWordsLogitsProcessor,
        NoRepeatNGramLogitsProcessor as NoRepeatNGramLogitsProcessor,
        PrefixConstrainedLogitsProcessor as PrefixConstrainedLogitsProcessor,
        RepetitionPenaltyLogitsProcessor as RepetitionPenaltyLogitsProcessor,
        SequenceBiasLogitsProcessor as SequenceBiasLogitsProcessor,
        SuppressTokensAtBeginLogitsProcessor as SuppressTokensAtBeginLogitsProcessor,
        SuppressTokensLogitsProcessor as SuppressTokensLogitsProcessor,
    )
    from pegasus.backends.torch.compatibility.logits_warpers import (
        EpsilonLogitsWarper as EpsilonLogitsWarper,
        EtaLogitsWarper as EtaLogitsWarper,
        TemperatureLogitsWarper as TemperatureLogitsWarper,
        TopKLogitsWarper as TopKLogitsWarper,
        TopPLogitsWarper as TopPLogitsWarper,
        TypicalLogitsWarper as TypicalLogitsWarper,
        top_k_top_p_filtering as top_k_top_p_filtering,
    )
    from pegasus.backends.torch.compatibility.schedulers import (
        get_constant_schedule as get_constant_schedule,
        get_constant_schedule_with_warmup as get_constant_schedule_with_warmup,
        get_cosine_schedule_with_warmup as get_cosine_schedule_with_warmup,
        get_cosine_with_hard_restarts_schedule_with_warmup as get_cosine_with_hard_restarts_schedule_with_warmup,  # noqa: E501
        get_inverse_sqrt_schedule as get_inverse_sqrt_schedule,
        get_linear_schedule_with_warmup as get_linear_schedule_with_warmup,
        get_polynomial_decay_schedule_with_warmup as get_polynomial_decay_schedule_with_warmup,
        get_scheduler as get_scheduler,
    )
    from pegasus.backends.torch.model.causal import PegasusForCausalLM as PegasusForCausalLM
    from pegasus.backends.torch.model.heads import (
        PegasusForConditionalGeneration as PegasusForConditionalGeneration,
        PegasusModel as PegasusModel,
    )
    from pegasus.backends.torch.model.stacks import PegasusPreTrainedModel as PegasusPreTrainedModel
    from pegasus.backends.torch.seeding import set_seed as set_seed
    from pegasus.errors import PegasusError as PegasusError
    from pegasus.generation.beam_scorers import (
        BeamScorer as BeamScorer,
        BeamSearchScorer as BeamSearchScorer,
        ConstrainedBeamSearchScorer as ConstrainedBeamSearchScorer,
    )
    from pegasus.generation.config import GenerationConfig as GenerationConfig
    from pegasus.generation.constraint_progress import (
        ConstraintListState as ConstraintListState,
    )
    from pegasus.generation.constraints import (
        Constraint as Constraint,
        DisjunctiveConstraint as DisjunctiveConstraint,
        PhrasalConstraint as PhrasalConstraint,
    )
    from pegasus.generation.generate import GenerationMixin as GenerationMixin
    from pegasus.generation.outputs import (
        BeamSampleDecoderOnlyOutput as BeamSampleDecoderOnlyOutput,
        BeamSampleEncoderDecoderOutput as BeamSampleEncoderDecoderOutput,
        BeamSearchDecoderOnlyOutput as BeamSearchDecoderOnlyOutput,
        BeamSearchEncoderDecoderOutput as BeamSearchEncoderDecoderOutput,
        ContrastiveSearchDecoderOnlyOutput as ContrastiveSearchDecoderOnlyOutput,
        ContrastiveSearchEncoderDecoderOutput as ContrastiveSearchEncoderDecoderOutput,
        GreedySearchDecoderOnlyOutput as GreedySearchDecoderOnlyOutput,
        GreedySearchEncoderDecoderOutput as GreedySearchEncoderDecoderOutput,
        SampleDecoderOnlyOutput as SampleDecoderOnlyOutput,
        SampleEncoderDecoderOutput as SampleEncoderDecoderOutput,
    )
    from pegasus.generation.stopping import (
        MaxLengthCriteria as MaxLengthCriteria,
        MaxTimeCriteria as MaxTimeCriteria,
        StoppingCriteria as StoppingCriteria,
        StoppingCriteriaList as StoppingCriteriaList,
    )
    from pegasus.generation.streaming import (
        TextIteratorStreamer as TextIteratorStreamer,
        TextStreamer as TextStreamer,
    )
    from pegasus.spec import verbosity as verbosity
    from pegasus.spec.auto import (
        CONFIG_MAPPING as CONFIG_MAPPING,
        AutoConfig as AutoConfig,
    )
    from pegasus.spec.available import (
        CONFIG_NAME as CONFIG_NAME,
        SPIECE_UNDERLINE as SPIECE_UNDERLINE,
        TF2_WEIGHTS_NAME as TF2_WEIGHTS_NAME,
        TF_WEIGHTS_NAME as TF_WEIGHTS_NAME,
        WEIGHTS_NAME as WEIGHTS_NAME,
        IntervalStrategy as IntervalStrategy,
        SchedulerType as SchedulerType,
        TensorType as TensorType,
        is_datasets_available as is_datasets_available,
        is_flax_available as is_flax_available,
        is_safetensors_available as is_safetensors_available,
        is_sentencepiece_available as is_sentencepiece_available,
        is_tf_available as is_tf_available,
        is_tokenizers_available as is_tokenizers_available,
        is_torch_available as is_torch_available,
    )
    from pegasus.spec.config import PegasusConfig as PegasusConfig
    from pegasus.spec.outputs import (
        BaseModelOutput as BaseModelOutput,
        BaseModelOutputWithPastAndCrossAttentions as BaseModelOutputWithPastAndCrossAttentions,
        CausalLMOutputWithCrossAttentions as CausalLMOutputWithCrossAttentions,
        ModelOutput as ModelOutput,
        Seq2SeqLMOutput as Seq2SeqLMOutput,
        Seq2SeqModelOutput as Seq2SeqModelOutput,
    )
    from pegasus.summarizer.pipelines import (
        SummarizationPipeline as SummarizationPipeline,
        Text2TextGenerationPipeline as Text2TextGenerationPipeline,
        pipeline as pipeline,
    )
    from pegasus.summarizer.records import Summary as Summary
    from pegasus.summarizer.summarizer import Summarizer as Summarizer
    from pegasus.tokenization.auto import (
        TOKENIZER_MAPPING as TOKENIZER_MAPPING,
        AutoTokenizer as AutoTokenizer,
    )
    from pegasus.tokenization.base import TokenizerBase as TokenizerBase
    from pegasus.tokenization.call.collator import DataCollatorForSeq2Seq as DataCollatorForSeq2Seq
    from pegasus.tokenization.call.default_collators import (
        DataCollator as DataCollator,
        DataCollatorWithPadding as DataCollatorWithPadding,
        DefaultDataCollator as DefaultDataCollator,
        default_data_collator as default_data_collator,
    )
    from pegasus.tokenization.call.encoding import (
        BatchEncoding as BatchEncoding,
        CharSpan as CharSpan,
        TokenSpan as TokenSpan,
    )
    from pegasus.tokenization.fast import PegasusTokenizerFast as PegasusTokenizerFast
    from pegasus.tokenization.slow import PegasusTokenizer as PegasusTokenizer

    PreTrainedModel = PegasusPreTrainedModel
    PreTrainedTokenizer = PegasusTokenizer
    PreTrainedTokenizerBase = TokenizerBase
    PreTrainedTokenizerFast = PegasusTokenizerFast
    PretrainedConfig = PegasusConfig
    SpecialTokensMixin = TokenizerBase
    logging = verbosity

__version__ = "0.1.0"

#: public name → the module it lives in
_HOME = {
    "Adafactor": "pegasus.backends.torch.compatibility.adafactor",
    "AdamW": "pegasus.backends.torch.compatibility.adamw",
    "AddedToken": "tokenizers",
    "AutoConfig": "pegasus.spec.auto",
    "AutoModel": "pegasus.backends.torch.auto",
    "AutoModelForCausalLM": "pegasus.backends.torch.auto",
    "AutoModelForSeq2SeqLM": "pegasus.backends.torch.auto",
    "AutoTokenizer": "pegasus.tokenization.auto",
    "BaseModelOutput": "pegasus.spec.outputs",
    "BaseModelOutputWithPastAndCrossAttentions": "pegasus.spec.outputs",
    "BatchEncoding": "pegasus.tokenization.call.encoding",
    "BeamSampleDecoderOnlyOutput": "pegasus.generation.outputs",
    "BeamSampleEncoderDecoderOutput": "pegasus.generation.outputs",
    "BeamScorer": "pegasus.generation.beam_scorers",
    "BeamSearchDecoderOnlyOutput": "pegasus.generation.outputs",
    "BeamSearchEncoderDecoderOutput": "pegasus.generation.outputs",
    "BeamSearchScorer": "pegasus.generation.beam_scorers",
    "CONFIG_MAPPING": "pegasus.spec.auto",
    "CONFIG_NAME": "pegasus.spec.available",
    "CausalLMOutputWithCrossAttentions": "pegasus.spec.outputs",
    "CharSpan": "pegasus.tokenization.call.encoding",
    "ConstrainedBeamSearchScorer": "pegasus.generation.beam_scorers",
    "Constraint": "pegasus.generation.constraints",
    "ConstraintListState": "pegasus.generation.constraint_progress",
    "ContrastiveSearchDecoderOnlyOutput": "pegasus.generation.outputs",
    "ContrastiveSearchEncoderDecoderOutput": "pegasus.generation.outputs",
    "DataCollator": "pegasus.tokenization.call.default_collators",
    "DataCollatorForSeq2Seq": "pegasus.tokenization.call.collator",
    "DataCollatorWithPadding": "pegasus.tokenization.call.default_collators",
    "DefaultDataCollator": "pegasus.tokenization.call.default_collators",
    "DisjunctiveConstraint": "pegasus.generation.constraints",
    "EncoderNoRepeatNGramLogitsProcessor": "pegasus.backends.torch.compatibility.logits_processors",
    "EncoderRepetitionPenaltyLogitsProcessor": "pegasus.backends.torch.compatibility.logits_processors",
    "EpsilonLogitsWarper": "pegasus.backends.torch.compatibility.logits_warpers",
    "EtaLogitsWarper": "pegasus.backends.torch.compatibility.logits_warpers",
    "ExponentialDecayLengthPenalty": "pegasus.backends.torch.compatibility.logits_processors",
    "FlaxAutoModelForSeq2SeqLM": "pegasus.backends.jax.auto",
    "FlaxPegasusForConditionalGeneration": "pegasus.backends.jax.model.flax_classes",
    "FlaxPegasusModel": "pegasus.backends.jax.model.flax_classes",
    "ForceTokensLogitsProcessor": "pegasus.backends.torch.compatibility.logits_processors",
    "ForcedBOSTokenLogitsProcessor": "pegasus.backends.torch.compatibility.logits_processors",
    "ForcedEOSTokenLogitsProcessor": "pegasus.backends.torch.compatibility.logits_processors",
    "GenerationConfig": "pegasus.generation.config",
    "GenerationMixin": "pegasus.generation.generate",
    "GreedySearchDecoderOnlyOutput": "pegasus.generation.outputs",
    "GreedySearchEncoderDecoderOutput": "pegasus.generation.outputs",
    "HammingDiversityLogitsProcessor": "pegasus.backends.torch.compatibility.logits_processors",
    "InfNanRemoveLogitsProcessor": "pegasus.backends.torch.compatibility.logits_processors",
    "IntervalStrategy": "pegasus.spec.available",
    "LogitNormalization": "pegasus.backends.torch.compatibility.logits_processors",
    "LogitsProcessor": "pegasus.backends.torch.compatibility.logits_processors",
    "LogitsProcessorList": "pegasus.backends.torch.compatibility.logits_processors",
    "LogitsWarper": "pegasus.backends.torch.compatibility.logits_processors",
    "MODEL_FOR_CAUSAL_LM_MAPPING": "pegasus.backends.torch.auto",
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING": "pegasus.backends.torch.auto",
    "MODEL_MAPPING": "pegasus.backends.torch.auto",
    "MaxLengthCriteria": "pegasus.generation.stopping",
    "MaxTimeCriteria": "pegasus.generation.stopping",
    "MinLengthLogitsProcessor": "pegasus.backends.torch.compatibility.logits_processors",
    "MinNewTokensLengthLogitsProcessor": "pegasus.backends.torch.compatibility.logits_processors",
    "ModelOutput": "pegasus.spec.outputs",
    "NoBadWordsLogitsProcessor": "pegasus.backends.torch.compatibility.logits_processors",
    "NoRepeatNGramLogitsProcessor": "pegasus.backends.torch.compatibility.logits_processors",
    "PackedForConditionalGeneration": "pegasus.backends.bridges.packed_torch",
    "PegasusConfig": "pegasus.spec.config",
    "PegasusError": "pegasus.errors",
    "PegasusForCausalLM": "pegasus.backends.torch.model.causal",
    "PegasusForConditionalGeneration": "pegasus.backends.torch.model.heads",
    "PegasusModel": "pegasus.backends.torch.model.heads",
    "PegasusPreTrainedModel": "pegasus.backends.torch.model.stacks",
    "PegasusTokenizer": "pegasus.tokenization.slow",
    "PegasusTokenizerFast": "pegasus.tokenization.fast",
    "PhrasalConstraint": "pegasus.generation.constraints",
    "PrefixConstrainedLogitsProcessor": "pegasus.backends.torch.compatibility.logits_processors",
    "RepetitionPenaltyLogitsProcessor": "pegasus.backends.torch.compatibility.logits_processors",
    "SPIECE_UNDERLINE": "pegasus.spec.available",
    "SampleDecoderOnlyOutput": "pegasus.generation.outputs",
    "SampleEncoderDecoderOutput": "pegasus.generation.outputs",
    "SchedulerType": "pegasus.spec.available",
    "Seq2SeqLMOutput": "pegasus.spec.outputs",
    "Seq2SeqModelOutput": "pegasus.spec.outputs",
    "SequenceBiasLogitsProcessor": "pegasus.backends.torch.compatibility.logits_processors",
    "StoppingCriteria": "pegasus.generation.stopping",
    "StoppingCriteriaList": "pegasus.generation.stopping",
    "SummarizationPipeline": "pegasus.summarizer.pipelines",
    "Summarizer": "pegasus.summarizer.summarizer",
    "Summary": "pegasus.summarizer.records",
    "SuppressTokensAtBeginLogitsProcessor": "pegasus.backends.torch.compatibility.logits_processors",
    "SuppressTokensLogitsProcessor": "pegasus.backends.torch.compatibility.logits_processors",
    "TF2_WEIGHTS_NAME": "pegasus.spec.available",
    "TFAutoModelForSeq2SeqLM": "pegasus.backends.tensorflow.auto",
    "TF_WEIGHTS_NAME": "pegasus.spec.available",
    "TOKENIZER_MAPPING": "pegasus.tokenization.auto",
    "TFPegasusForConditionalGeneration": "pegasus.backends.tensorflow.model.tf_classes",
    "TFPegasusModel": "pegasus.backends.tensorflow.model.tf_classes",
    "TemperatureLogitsWarper": "pegasus.backends.torch.compatibility.logits_warpers",
    "TensorType": "pegasus.spec.available",
    "Text2TextGenerationPipeline": "pegasus.summarizer.pipelines",
    "TextIteratorStreamer": "pegasus.generation.streaming",
    "TextStreamer": "pegasus.generation.streaming",
    "TokenSpan": "pegasus.tokenization.call.encoding",
    "TopKLogitsWarper": "pegasus.backends.torch.compatibility.logits_warpers",
    "TopPLogitsWarper": "pegasus.backends.torch.compatibility.logits_warpers",
    "TypicalLogitsWarper": "pegasus.backends.torch.compatibility.logits_warpers",
    "WEIGHTS_NAME": "pegasus.spec.available",
    "default_data_collator": "pegasus.tokenization.call.default_collators",
    "get_constant_schedule": "pegasus.backends.torch.compatibility.schedulers",
    "get_constant_schedule_with_warmup": "pegasus.backends.torch.compatibility.schedulers",
    "get_cosine_schedule_with_warmup": "pegasus.backends.torch.compatibility.schedulers",
    "get_cosine_with_hard_restarts_schedule_with_warmup": "pegasus.backends.torch.compatibility.schedulers",
    "get_inverse_sqrt_schedule": "pegasus.backends.torch.compatibility.schedulers",
    "get_linear_schedule_with_warmup": "pegasus.backends.torch.compatibility.schedulers",
    "get_polynomial_decay_schedule_with_warmup": "pegasus.backends.torch.compatibility.schedulers",
    "get_scheduler": "pegasus.backends.torch.compatibility.schedulers",
    "is_datasets_available": "pegasus.spec.available",
    "is_flax_available": "pegasus.spec.available",
    "is_safetensors_available": "pegasus.spec.available",
    "is_sentencepiece_available": "pegasus.spec.available",
    "is_tf_available": "pegasus.spec.available",
    "is_tokenizers_available": "pegasus.spec.available",
    "is_torch_available": "pegasus.spec.available",
    "pipeline": "pegasus.summarizer.pipelines",
    "set_seed": "pegasus.backends.torch.seeding",
    "top_k_top_p_filtering": "pegasus.backends.torch.compatibility.logits_warpers",
}

#: A general name of transformers' → the module and the class that stand for it here, where all is PEGASUS.
_STANDS_FOR = {
    "PreTrainedModel": ("pegasus.backends.torch.model.stacks", "PegasusPreTrainedModel"),
    "PreTrainedTokenizer": ("pegasus.tokenization.slow", "PegasusTokenizer"),
    "PreTrainedTokenizerBase": ("pegasus.tokenization.base", "TokenizerBase"),
    "PreTrainedTokenizerFast": ("pegasus.tokenization.fast", "PegasusTokenizerFast"),
    "PretrainedConfig": ("pegasus.spec.config", "PegasusConfig"),
    "SpecialTokensMixin": ("pegasus.tokenization.base", "TokenizerBase"),
}

#: A module under a name of transformers'.
_MODULES = {"logging": "pegasus.spec.verbosity"}

__all__ = ["__version__", *_HOME, *_STANDS_FOR, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value: Any = importlib.import_module(_MODULES[name])
    elif name in _HOME or name in _STANDS_FOR:
        module, real = _STANDS_FOR.get(name) or (_HOME[name], name)
        value = getattr(importlib.import_module(module), real)
    else:
        raise AttributeError(f"module 'pegasus' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
