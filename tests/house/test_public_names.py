"""The public names, and how little ``import pegasus`` loads."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import pegasus

SOURCE = Path(pegasus.__file__).parent

#: Frozen: a name may be added here; one that is taken away or moved breaks somebody's code.
PUBLIC = {
    "CONFIG_MAPPING",
    "CONFIG_NAME",
    "ConstraintListState",
    "DataCollator",
    "DataCollatorWithPadding",
    "DefaultDataCollator",
    "IntervalStrategy",
    "MODEL_FOR_CAUSAL_LM_MAPPING",
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING",
    "MODEL_MAPPING",
    "SPIECE_UNDERLINE",
    "SchedulerType",
    "TF2_WEIGHTS_NAME",
    "TF_WEIGHTS_NAME",
    "TOKENIZER_MAPPING",
    "TensorType",
    "WEIGHTS_NAME",
    "default_data_collator",
    "is_datasets_available",
    "is_flax_available",
    "is_safetensors_available",
    "is_sentencepiece_available",
    "is_tf_available",
    "is_tokenizers_available",
    "is_torch_available",
    "top_k_top_p_filtering",
    "Adafactor",
    "AdamW",
    "AddedToken",
    "AutoConfig",
    "AutoModel",
    "AutoModelForCausalLM",
    "AutoModelForSeq2SeqLM",
    "AutoTokenizer",
    "BaseModelOutput",
    "BaseModelOutputWithPastAndCrossAttentions",
    "BatchEncoding",
    "BeamSampleDecoderOnlyOutput",
    "BeamSampleEncoderDecoderOutput",
    "BeamScorer",
    "BeamSearchDecoderOnlyOutput",
    "BeamSearchEncoderDecoderOutput",
    "BeamSearchScorer",
    "CausalLMOutputWithCrossAttentions",
    "CharSpan",
    "ConstrainedBeamSearchScorer",
    "Constraint",
    "ContrastiveSearchDecoderOnlyOutput",
    "ContrastiveSearchEncoderDecoderOutput",
    "DataCollatorForSeq2Seq",
    "DisjunctiveConstraint",
    "EncoderNoRepeatNGramLogitsProcessor",
    "EncoderRepetitionPenaltyLogitsProcessor",
    "EpsilonLogitsWarper",
    "EtaLogitsWarper",
    "ExponentialDecayLengthPenalty",
    "FlaxAutoModelForSeq2SeqLM",
    "FlaxPegasusForConditionalGeneration",
    "FlaxPegasusModel",
    "ForceTokensLogitsProcessor",
    "ForcedBOSTokenLogitsProcessor",
    "ForcedEOSTokenLogitsProcessor",
    "GenerationConfig",
    "GenerationMixin",
    "GreedySearchDecoderOnlyOutput",
    "GreedySearchEncoderDecoderOutput",
    "HammingDiversityLogitsProcessor",
    "InfNanRemoveLogitsProcessor",
    "LogitNormalization",
    "LogitsProcessor",
    "LogitsProcessorList",
    "LogitsWarper",
    "MaxLengthCriteria",
    "MaxTimeCriteria",
    "MinLengthLogitsProcessor",
    "MinNewTokensLengthLogitsProcessor",
    "ModelOutput",
    "NoBadWordsLogitsProcessor",
    "NoRepeatNGramLogitsProcessor",
    "PackedForConditionalGeneration",
    "PegasusConfig",
    "PegasusError",
    "PegasusForCausalLM",
    "PegasusForConditionalGeneration",
    "PegasusModel",
    "PegasusPreTrainedModel",
    "PegasusTokenizer",
    "PegasusTokenizerFast",
    "PhrasalConstraint",
    "PrefixConstrainedLogitsProcessor",
    "RepetitionPenaltyLogitsProcessor",
    "SampleDecoderOnlyOutput",
    "SampleEncoderDecoderOutput",
    "Seq2SeqLMOutput",
    "Seq2SeqModelOutput",
    "SequenceBiasLogitsProcessor",
    "StoppingCriteria",
    "StoppingCriteriaList",
    "SummarizationPipeline",
    "Summarizer",
    "Summary",
    "SuppressTokensAtBeginLogitsProcessor",
    "SuppressTokensLogitsProcessor",
    "TFAutoModelForSeq2SeqLM",
    "TFPegasusForConditionalGeneration",
    "TFPegasusModel",
    "TemperatureLogitsWarper",
    "Text2TextGenerationPipeline",
    "TextIteratorStreamer",
    "TextStreamer",
    "TokenSpan",
    "TopKLogitsWarper",
    "TopPLogitsWarper",
    "TypicalLogitsWarper",
    "__version__",
    "get_constant_schedule",
    "get_constant_schedule_with_warmup",
    "get_cosine_schedule_with_warmup",
    "get_cosine_with_hard_restarts_schedule_with_warmup",
    "get_inverse_sqrt_schedule",
    "get_linear_schedule_with_warmup",
    "get_polynomial_decay_schedule_with_warmup",
    "get_scheduler",
    "pipeline",
    "set_seed",
}
#: General names, and the class here that stands for each.
STAND_FOR = {
    "PreTrainedModel": "PegasusPreTrainedModel",
    "PreTrainedTokenizer": "PegasusTokenizer",
    "PreTrainedTokenizerBase": "TokenizerBase",
    "PreTrainedTokenizerFast": "PegasusTokenizerFast",
    "PretrainedConfig": "PegasusConfig",
    "SpecialTokensMixin": "TokenizerBase",
}
HEAVY = (
    "torch",
    "jax",
    "tensorflow",
    "keras",
    "flax",
    "numpy",
    "tokenizers",
    "sentencepiece",
    "huggingface_hub",
    "rich",
)


#: Public names that are no classes or functions.
VALUES = {
    "DataCollator",
    "SPIECE_UNDERLINE",
    *(name for name in PUBLIC if name.endswith(("_NAME", "_MAPPING"))),
}


def test_the_table_of_public_names():
    assert set(pegasus.__all__) == PUBLIC | STAND_FOR.keys() | {"logging"}


@pytest.mark.parametrize("name", sorted(VALUES))
def test_every_value_is_there(name):
    home = importlib.import_module(pegasus._HOME[name])
    assert getattr(pegasus, name) is getattr(home, name) is not None


def test_the_module_under_another_name():
    assert pegasus.logging is importlib.import_module("pegasus.spec.verbosity")


@pytest.mark.parametrize("name", sorted(PUBLIC - VALUES))
def test_every_public_name_is_there(name):
    value = getattr(pegasus, name)
    if name != "__version__":
        assert value.__name__ == name
        assert value.__doc__
        assert value.__module__ == pegasus._HOME[name]


@pytest.mark.parametrize("name", sorted(STAND_FOR))
def test_a_general_name_is_the_class_that_stands_for_it(name):
    value = getattr(pegasus, name)
    assert value.__name__ == STAND_FOR[name]
    assert (value.__module__, value.__name__) == pegasus._STANDS_FOR[name]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'PegasusForEverything'"):
        _ = pegasus.PegasusForEverything
    assert not hasattr(pegasus, "nonsense")


def test_dir_lists_them():
    assert set(dir(pegasus)) >= PUBLIC | STAND_FOR.keys()


def test_a_type_checker_sees_every_lazy_name():
    import ast

    tree = ast.parse((SOURCE / "__init__.py").read_text())
    guarded = next(n for n in tree.body if isinstance(n, ast.If))
    imports = [one for one in guarded.body if isinstance(one, ast.ImportFrom)]
    seen = {(alias.asname, one.module) for one in imports for alias in one.names}
    assert seen == {
        *pegasus._HOME.items(),
        ("TokenizerBase", "pegasus.tokenization.base"),
        ("verbosity", "pegasus.spec"),
    }
    general = [ast.unparse(one) for one in guarded.body if isinstance(one, ast.Assign)]
    assert general == [*(f"{name} = {real}" for name, real in STAND_FOR.items()), "logging = verbosity"]


def python(code: str) -> str:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_importing_loads_nothing_heavy():
    loaded = python(f"import sys, pegasus; print([n for n in {HEAVY} if n in sys.modules])")
    assert loaded.strip() == "[]"


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom pegasus.__main__ import main\n"
        "sys.argv = ['pegasus', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print('loaded', [n for n in {HEAVY} if n in sys.modules])"
    )
    assert python(code).splitlines()[-1] == "loaded []"


def test_spec_and_generation_load_no_framework():
    code = (
        "import sys, pegasus\nfrom pegasus import PegasusConfig, GenerationConfig\n"
        "import pegasus.generation, pegasus.tokenization, pegasus.checkpoint, pegasus.summarizer\n"
        "print([n for n in ('torch', 'jax', 'tensorflow') if n in sys.modules])"
    )
    assert python(code).strip() == "[]"


LOADED = """
import sys
before = set(sys.modules)
{work}
print("LOADED", *sorted(set(sys.modules) - before))
"""


def loaded(work: str) -> list[str]:
    """The modules that this loads beside those that Python itself begins with."""
    return python(LOADED.format(work=work)).splitlines()[-1].split()[1:]


def test_import_loads_next_to_nothing():
    """How long it takes, `scripts/bench starting` measures."""
    names = loaded("import pegasus")
    assert [name for name in names if name.startswith("pegasus")] == ["pegasus"]
    assert len(names) < 50


def test_help_loads_little():
    names = loaded(
        "from pegasus.__main__ import main\nsys.argv = ['pegasus', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass"
    )
    ours = [name for name in names if name.startswith("pegasus")]
    assert {name.split(".")[1] for name in ours if "." in name} <= {"__main__", "backends", "cli", "errors"}
    assert len(ours) < 30
    assert len(names) < 150


@pytest.mark.parametrize("backwards", [False, True])
def test_modules_can_be_imported_from_either_end(backwards):
    """No cycle that works only where another module came first."""
    names = [
        ".".join(("pegasus", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
        for path in sorted(SOURCE.rglob("*.py"), reverse=backwards)
        if path.stem != "__main__"
    ]
    rooms = ("pegasus.backends.jax", "pegasus.backends.tensorflow")
    light = [name for name in names if not name.startswith(rooms)]
    python(f"import importlib\nfor name in {light}:\n    importlib.import_module(name)")
