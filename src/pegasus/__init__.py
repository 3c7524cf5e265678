"""PEGASUS: abstractive summarization, from pre-training to serving.

Every public name is imported when it is first used, so that ``import pegasus`` loads no framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pegasus.backends.bridges.packed_torch import (
        PackedForConditionalGeneration as PackedForConditionalGeneration,
    )
    from pegasus.backends.torch.model import (
        PegasusForCausalLM as PegasusForCausalLM,
        PegasusForConditionalGeneration as PegasusForConditionalGeneration,
        PegasusModel as PegasusModel,
    )
    from pegasus.backends.torch.stacks import PegasusPreTrainedModel as PegasusPreTrainedModel
    from pegasus.errors import PegasusError as PegasusError
    from pegasus.generation.config import GenerationConfig as GenerationConfig
    from pegasus.generation.constraints import (
        DisjunctiveConstraint as DisjunctiveConstraint,
        PhrasalConstraint as PhrasalConstraint,
    )
    from pegasus.generation.stopping import (
        MaxTimeCriteria as MaxTimeCriteria,
        StoppingCriteria as StoppingCriteria,
        StoppingCriteriaList as StoppingCriteriaList,
    )
    from pegasus.generation.stream import (
        TextIteratorStreamer as TextIteratorStreamer,
        TextStreamer as TextStreamer,
    )
    from pegasus.spec.config import PegasusConfig as PegasusConfig
    from pegasus.summarizer.records import Summary as Summary
    from pegasus.summarizer.summarizer import Summarizer as Summarizer
    from pegasus.tokenization.auto import AutoTokenizer as AutoTokenizer
    from pegasus.tokenization.encoding import BatchEncoding as BatchEncoding
    from pegasus.tokenization.fast import PegasusTokenizerFast as PegasusTokenizerFast
    from pegasus.tokenization.slow import PegasusTokenizer as PegasusTokenizer

__version__ = "0.1.0"

#: public name → the module it lives in
_HOME = {
    "AutoTokenizer": "pegasus.tokenization.auto",
    "BatchEncoding": "pegasus.tokenization.encoding",
    "DisjunctiveConstraint": "pegasus.generation.constraints",
    "GenerationConfig": "pegasus.generation.config",
    "MaxTimeCriteria": "pegasus.generation.stopping",
    "PackedForConditionalGeneration": "pegasus.backends.bridges.packed_torch",
    "PegasusConfig": "pegasus.spec.config",
    "PegasusError": "pegasus.errors",
    "PegasusForCausalLM": "pegasus.backends.torch.model",
    "PegasusForConditionalGeneration": "pegasus.backends.torch.model",
    "PegasusModel": "pegasus.backends.torch.model",
    "PegasusPreTrainedModel": "pegasus.backends.torch.stacks",
    "PegasusTokenizer": "pegasus.tokenization.slow",
    "PegasusTokenizerFast": "pegasus.tokenization.fast",
    "PhrasalConstraint": "pegasus.generation.constraints",
    "StoppingCriteria": "pegasus.generation.stopping",
    "StoppingCriteriaList": "pegasus.generation.stopping",
    "Summarizer": "pegasus.summarizer.summarizer",
    "Summary": "pegasus.summarizer.records",
    "TextIteratorStreamer": "pegasus.generation.stream",
    "TextStreamer": "pegasus.generation.stream",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'pegasus' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
