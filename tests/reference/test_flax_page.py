"""Every Flax example of the PEGASUS page of transformers 4.34, with only the import line changed.

One does not run as printed anywhere, and is corrected here: mask filling looks for ``<mask>``, which is no
token of PEGASUS (they are ``<mask_1>`` and ``<mask_2>``), calls ``.nonzero().item()`` on NumPy's tuple, uses
``jax`` without importing it, and ``top_k`` without its k.
"""

# ruff: noqa: I001, E501

from __future__ import annotations


def test_flax_model(checkpoint):
    from pegasus import AutoTokenizer, FlaxPegasusModel

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = FlaxPegasusModel.from_pretrained(checkpoint)

    inputs = tokenizer("Hello, my dog is cute", return_tensors="jax")
    outputs = model(**inputs)

    last_hidden_states = outputs.last_hidden_state

    assert last_hidden_states.shape == (1, inputs["input_ids"].shape[1], model.config.d_model)


def test_encode_and_decode(checkpoint):
    import jax.numpy as jnp
    from pegasus import AutoTokenizer, FlaxPegasusForConditionalGeneration, FlaxPegasusModel

    model = FlaxPegasusForConditionalGeneration.from_pretrained(checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)

    text = "My friends are cool but they eat too many carbs."
    inputs = tokenizer(text, max_length=1024, return_tensors="np")
    encoder_outputs = model.encode(**inputs)

    decoder_start_token_id = model.config.decoder_start_token_id
    decoder_input_ids = jnp.ones((inputs.input_ids.shape[0], 1), dtype="i4") * decoder_start_token_id

    outputs = model.decode(decoder_input_ids, encoder_outputs)
    logits = outputs.logits

    assert encoder_outputs.last_hidden_state.shape == (*inputs.input_ids.shape, model.config.d_model)
    assert logits.shape == (1, 1, len(tokenizer))

    # The page prints the same lines for the bare model, whose outputs they read as states: these it has.
    model = FlaxPegasusModel.from_pretrained(checkpoint)
    outputs = model.decode(decoder_input_ids, model.encode(**inputs))
    last_decoder_hidden_states = outputs.last_hidden_state

    assert last_decoder_hidden_states.shape == (1, 1, model.config.d_model)


def test_summarization_example(checkpoint):
    from pegasus import AutoTokenizer, FlaxPegasusForConditionalGeneration

    model = FlaxPegasusForConditionalGeneration.from_pretrained(checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)

    ARTICLE_TO_SUMMARIZE = "My friends are cool but they eat too many carbs."
    inputs = tokenizer([ARTICLE_TO_SUMMARIZE], max_length=1024, return_tensors="np")

    # Generate Summary
    summary_ids = model.generate(inputs["input_ids"]).sequences
    said = tokenizer.batch_decode(summary_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    assert 2 <= summary_ids.shape[1] <= model.config.max_length
    assert len(said) == 1
    assert isinstance(said[0], str)


def test_mask_filling_example(checkpoint):
    import jax
    from pegasus import AutoTokenizer, FlaxPegasusForConditionalGeneration

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    TXT = "My friends are <mask_2> but they eat too many carbs."

    model = FlaxPegasusForConditionalGeneration.from_pretrained(checkpoint)
    input_ids = tokenizer([TXT], return_tensors="np")["input_ids"]
    logits = model(input_ids).logits

    masked_index = (input_ids[0] == tokenizer.mask_token_id).nonzero()[0].item()
    probs = jax.nn.softmax(logits[0, masked_index], axis=0)
    values, predictions = jax.lax.top_k(probs, 5)

    words = tokenizer.decode(predictions).split()

    assert tokenizer.mask_token == "<mask_2>"
    assert input_ids[0, masked_index] == tokenizer.mask_token_id
    assert values.shape == predictions.shape == (5,)
    assert (values[:-1] >= values[1:]).all()
    assert words
