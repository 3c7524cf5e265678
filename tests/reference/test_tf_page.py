"""Every TF example of the PEGASUS page of transformers 4.34, with only the import line changed.

One does not run as printed anywhere, and is corrected here: the summary is generated from ``input_ids``, which
the example never defines. The other, which calls the bare model without ``decoder_input_ids``, runs here as the
page describes them; the classes of transformers refuse it.
"""

# ruff: noqa: I001, E501

from __future__ import annotations


def test_tf_model(checkpoint):
    from pegasus import AutoTokenizer, TFPegasusModel
    import tensorflow as tf

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = TFPegasusModel.from_pretrained(checkpoint)

    inputs = tokenizer("Hello, my dog is cute", return_tensors="tf")
    outputs = model(inputs)

    last_hidden_states = outputs.last_hidden_state

    assert tf.is_tensor(last_hidden_states)
    assert last_hidden_states.shape == (1, inputs["input_ids"].shape[1], model.config.d_model)


def test_summarization_example(checkpoint):
    from pegasus import AutoTokenizer, TFPegasusForConditionalGeneration

    model = TFPegasusForConditionalGeneration.from_pretrained(checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)

    ARTICLE_TO_SUMMARIZE = (
        "PG&E stated it scheduled the blackouts in response to forecasts for high winds "
        "amid dry conditions. The aim is to reduce the risk of wildfires. Nearly 800 thousand customers were "
        "scheduled to be affected by the shutoffs which were expected to last through at least midday tomorrow."
    )
    inputs = tokenizer(ARTICLE_TO_SUMMARIZE, max_length=1024, return_tensors="tf")

    # Generate Summary
    summary_ids = model.generate(inputs["input_ids"])
    said = tokenizer.batch_decode(summary_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    assert 2 <= summary_ids.shape[1] <= model.config.max_length
    assert len(said) == 1
    assert isinstance(said[0], str)
