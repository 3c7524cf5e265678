"""The smaller names that scripts for PEGASUS import: collators, mappings, questions, how much is said."""

from __future__ import annotations

import itertools
import logging as logging_of_python

import numpy as np
import pytest
import torch

import pegasus
from pegasus import (
    AutoTokenizer,
    ConstraintListState,
    DataCollatorWithPadding,
    DefaultDataCollator,
    DisjunctiveConstraint,
    PegasusConfig,
    PhrasalConstraint,
    SchedulerType,
    default_data_collator,
    logging,
)
from pegasus.errors import BadData, BadSetting


def test_rows_are_filled_up() -> None:
    tokenizer = AutoTokenizer.from_pretrained("pegasus-mini")
    rows = [{"input_ids": [5, 6, 1], "label": 2}, {"input_ids": [7, 1], "label": 0}]
    found = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=4)(rows)
    assert found["input_ids"].tolist() == [[5, 6, 1, 0], [7, 1, 0, 0]]
    assert found["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 0, 0]]
    assert found["labels"].tolist() == [2, 0]
    assert "label" not in found
    assert rows[0] == {"input_ids": [5, 6, 1], "label": 2}
    with pytest.raises(BadData):
        DataCollatorWithPadding(tokenizer)([])


def test_rows_are_stacked() -> None:
    rows = [{"input_ids": [5, 1], "label_ids": torch.tensor([1, 2]), "id": "a", "x": None}] * 2
    found = default_data_collator(rows)
    assert set(found) == {"input_ids", "labels"}
    assert found["labels"].dtype == torch.int64
    assert found["labels"].tolist() == [[1, 2], [1, 2]]
    arrays = DefaultDataCollator("np")([{"weight": 0.5, "label": 1}, {"weight": 1.0, "label": 0}])
    assert isinstance(arrays["weight"], np.ndarray)
    assert arrays["labels"].tolist() == [1, 0]
    with pytest.raises(BadSetting):
        default_data_collator([{"input_ids": [1]}, {"input_ids": [1, 2]}])


def test_how_far_constraints_are() -> None:
    state = ConstraintListState([PhrasalConstraint([5, 6]), DisjunctiveConstraint([[8, 9], [3]])])
    assert sorted(state.advance() or []) == [3, 5, 8]
    assert state.add(5) == (False, True)
    assert (state.get_bank(), state.advance()) == (1, [6])
    assert state.add(4) == (False, False)  # thrown back
    assert state.get_bank() == 0
    state.reset([5, 6, 8])
    assert (state.get_bank(), state.completed, state.advance()) == (3, False, [9])
    copied = state.copy()
    assert state.add(9) == (True, True)
    assert state.completed
    assert state.advance() is None
    assert not copied.completed
    assert copied.get_bank() == 3
    assert state.copy(stateful=False).get_bank() == 0
    with pytest.raises(BadSetting, match="no token"):
        copied.add("9")  # type: ignore[arg-type]


def test_tables_of_classes() -> None:
    assert pegasus.CONFIG_MAPPING["pegasus"] is PegasusConfig
    assert pegasus.MODEL_MAPPING[PegasusConfig] is pegasus.PegasusModel
    found = pegasus.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING[PegasusConfig]
    assert found is pegasus.PegasusForConditionalGeneration
    assert pegasus.MODEL_FOR_CAUSAL_LM_MAPPING[PegasusConfig] is pegasus.PegasusForCausalLM
    assert pegasus.TOKENIZER_MAPPING[PegasusConfig][1] is pegasus.PegasusTokenizerFast
    assert [config.model_type for config in pegasus.MODEL_MAPPING] == ["pegasus"]


def test_questions_about_packages() -> None:
    assert pegasus.is_torch_available()
    assert pegasus.is_sentencepiece_available()
    assert pegasus.is_tokenizers_available()
    assert pegasus.is_flax_available() is True  # of the dev extra
    assert isinstance(pegasus.is_tf_available(), bool)
    assert (pegasus.CONFIG_NAME, pegasus.WEIGHTS_NAME) == ("config.json", "pytorch_model.bin")


@pytest.mark.parametrize("kind", list(SchedulerType))
def test_every_kind_of_schedule_is_known(kind: SchedulerType) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    assert pegasus.get_scheduler(kind, optimizer, num_warmup_steps=2, num_training_steps=5)


def test_how_much_is_said() -> None:
    logger = logging_of_python.getLogger("pegasus")
    before = logger.level
    try:
        for level, setter in (
            (logging.ERROR, logging.set_verbosity_error), (logging.INFO, logging.set_verbosity_info),
            (logging.DEBUG, logging.set_verbosity_debug),
            (logging.WARNING, logging.set_verbosity_warning),
        ):  # fmt: skip
            setter()
            assert logging.get_verbosity() == logger.level == level
        assert logging.get_logger() is logger
        assert logging.get_logger("pegasus.x").name == "pegasus.x"
    finally:
        logger.setLevel(before)


def test_what_is_left_of_logits() -> None:
    logits = torch.log_softmax(torch.tensor([[1.0, 3.0, 2.0, 0.0], [0.0, 0.0, 5.0, 1.0]]), -1)
    for top_k, top_p in itertools.product((0, 2), (1.0, 0.7)):
        found = pegasus.top_k_top_p_filtering(logits, top_k=top_k, top_p=top_p)
        kept = torch.isfinite(found).sum(-1)
        assert (kept <= (top_k or 4)).all()
        assert torch.equal(found[torch.isfinite(found)], logits[torch.isfinite(found)])
    assert torch.isfinite(pegasus.top_k_top_p_filtering(logits, top_p=0.7)).sum(-1).tolist() == [2, 1]
