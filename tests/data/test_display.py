from __future__ import annotations

from pathlib import Path

import numpy as np

from pegasus.data.display import shown_input, shown_sentences, shown_target
from pegasus.data.gap import GapSettings
from pegasus.data.mask import Fates, Symbols, WordMasking
from pegasus.data.pretraining import PretrainingSettings, text_example

TEXT = "The cat sat. A dog ran fast. The cat ran. Birds sing."


def test_an_example_before_and_after(vocabulary_96k: Path) -> None:
    from pegasus import PegasusTokenizerFast

    tokenizer = PegasusTokenizerFast.from_pretrained(str(vocabulary_96k))
    symbols = Symbols.of(tokenizer)
    settings = PretrainingSettings(GapSettings(ratio=0.5), Fates(1, 0, 0, 0), WordMasking(0.5))
    prepared, made = text_example(TEXT, tokenizer, settings, np.random.default_rng(1), symbols=symbols)
    assert made.example is not None
    sentences = shown_sentences(prepared, made)
    assert [(sentence.text.strip(), sentence.fate) for sentence in sentences] == [
        ("The cat sat.", None),
        ("A dog ran fast.", "mask"),
        ("The cat ran.", "mask"),
        ("Birds sing.", None),
    ]
    assert [round(sentence.score or 0, 4) for sentence in sentences] == [0.2222, 0.2222, 0.4444, 0]
    stretches = shown_input(made.example, tokenizer, symbols)
    roles = [stretch.role for stretch in stretches]
    assert roles.count("sentence mask") == 1  # two in a row
    assert roles[-1] == "end"
    assert set(roles) & {"word mask", "random", "kept"}
    written = "".join(stretch.text for stretch in stretches)
    assert written.count("<mask_1>") == 2
    assert written.endswith("</s>")
    assert shown_target(made.example, tokenizer) == "A dog ran fast. The cat ran.</s>"


def test_every_piece_has_the_role_of_its_label(vocabulary_96k: Path) -> None:
    from pegasus import PegasusTokenizerFast

    tokenizer = PegasusTokenizerFast.from_pretrained(str(vocabulary_96k))
    symbols = Symbols.of(tokenizer)
    settings = PretrainingSettings(GapSettings("none"), words=WordMasking(1.0, mask=0.0, random=0.5))
    _, made = text_example(TEXT * 20, tokenizer, settings, np.random.default_rng(0), symbols=symbols)
    assert made.example is not None
    roles = {stretch.role for stretch in shown_input(made.example, tokenizer, symbols)}
    assert roles == {"random", "kept", "end"}
