"""Faithful summaries: what a text allows, and that nothing else is written, by checks of its own."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pegasus import PegasusConfig, PegasusForConditionalGeneration, PegasusTokenizerFast
from pegasus.errors import BadData, BadSetting
from pegasus.generation.processors.wording import Lexicon, Wording
from pegasus.hub import locate
from pegasus.summarizer import Summarizer
from pegasus.summarizer.faithful import (
    faithful_to,
    list_common_words,
    read_common_words,
    read_source,
)
from pegasus.summarizer.numbers import known_values, unknown_numbers
from pegasus.summarizer.settings import COMMON_WORDS
from pegasus.summarizer.writer import Job

PLAIN = Path(__file__).resolve().parents[1] / "fixtures" / "tokenizer-plain"
TEXT = (
    "Officials in Northbridge said on Tuesday that 1,200 people had left. Mayor Helen Okafor called it the "
    "worst of 17 floods since 1998. The town will spend $2.5 million, and the 20th street is closed until "
    "10:30. THE COUNCIL met. Person2 spoke for twenty minutes."
)


@pytest.fixture(scope="module")
def tokenizer():
    return PegasusTokenizerFast.from_pretrained(PLAIN)


def _listed(tmp_path):
    (tmp_path / COMMON_WORDS).write_text(
        "the\nmayor\nin\nof\npeople\nleft\nperson\nwill\nsince\nand\nfor\n"
    )
    return tmp_path


def wording(tokenizer, tmp_path, mode="words", text=TEXT) -> Wording:
    made = faithful_to(tokenizer, mode, _listed(tmp_path))
    return made.wording(np.array(tokenizer(text)["input_ids"]))


@pytest.mark.parametrize(
    "text",
    [
        "1,200 people left Northbridge.", "1200 people", "In Northbridge 1,200 people left", "$2.5 million",
        "2,500,000", "17 people", "Seventeen people", "seventeen floods", "20 minutes", "twenty minutes",
        "the 20th street", "since 1998", "Council", "Mayor Helen Okafor", "Okafor's people", "Person2 left",
        "Floods", "10:30",
    ],
)  # fmt: skip
def test_what_the_text_says_may_be_said(tokenizer, tmp_path, text):
    one = wording(tokenizer, tmp_path)
    assert one.read(one.start, text).may_end


@pytest.mark.parametrize(
    "text",
    [
        "1,300 people", "120 people", "2.5", "2.5 billion", "18 people", "eighteen people", "1999", "199",
        "Okafo", "the Person left", "Person left", "Helena", "Tuesdays", "the Mayors", "qwertz", "million",
        "twenty-one people", "10:31", "30 people",
    ],
)  # fmt: skip
def test_what_it_does_not_say_may_not(tokenizer, tmp_path, text):
    one = wording(tokenizer, tmp_path)
    assert not one.read(one.start, text).may_end


@pytest.mark.parametrize(
    ("source", "summary"),
    [
        ("Rates rose by 0.75%.", "75%"),
        ("It has 0.5 litres, or half a litre.", "50 litres"),
        ("It has 0.5 litres, or half a litre.", "fifty litres"),
        ("The rod measures 1.350 metres.", "1,350"),
        ("There is a 5m fence.", "5 million"),
        ("It cost $20m.", "$20."),
        ("It cost $20 M.", "$20."),
        ("It cost 20 bn euros.", "20 euros"),
        ("It cost 20million euros.", "20 euros"),
        ("It cost $20 m.", "$20."),
        ("It cost 50.000 euros.", "50 euros"),
        ("It took 15 1/2 years.", "15 years"),
        ("It took 15 1⁄2 years.", "15 years"),
        ("Es kostet 20 Millionen Euro.", "20 Euro"),
        ("It cost NOK 45 000.", "NOK 45."),
        ("It began in the 20th century.", "in 1900"),
        ("The 20th street is closed.", "twenty"),
        ("He left on 5/3/20.", "in 1920"),
        ("He came at 3 pm, or 15:00.", "15 people"),
        ("He came at 3:00.", "fifteen"),
        ("It was the nineties.", "ninety"),
        ("It was in nineteen eighty-four.", "84"),
        ("It is a ratio of 180/10.", "18"),
        ("COVID19 came.", "19 people"),
        ("The address 10.0.0.17 was down on 14.05.2024.", "100,017"),
        ("The address 10.0.0.17 was down on 14.05.2024.", "14,052,024"),
        ("Call 555-1234.", "1,234"),
        ("Washington DC is a town.", "600"),
        ("Louis XIV left a fortnight ago.", "fourteen"),
        ("Louis XIV left a fortnight ago.", "14"),
        ("It grew to 1,200.", "millions of people"),
        ("It grew to 1,200.", "dozens of people"),
        ("It grew to 2.5 million.", "millions"),
    ],
)
def test_a_number_is_not_written_as_what_it_means_only_elsewhere(tokenizer, tmp_path, source, summary):
    for mode in ("words", "names"):
        one = wording(tokenizer, tmp_path, mode, source)
        assert not one.read(one.start, summary).may_end


@pytest.mark.parametrize(
    ("source", "summary"),
    [
        ("It cost $20m.", "$20 million"),
        ("It cost $20m.", "$20m"),
        ("It cost 20bn euros.", "20 billion euros"),
        ("It cost 1,5 Mio and 20 Mio.", "20 million"),
        ("It cost 1.000.000 euros.", "1 million euros"),
        ("It cost NOK 45 000.", "NOK 45 000"),
        ("It cost NOK 45 000.", "NOK 45,000"),
        ("It cost 12 345 euros.", "12 345 euros"),
        ("It cost 40 to 50 million.", "40 million"),
        ("It was in nineteen eighty-four.", "1984"),
        ("It was in 2019-20.", "2020"),
        ("It was in the 1990s.", "1990"),
        ("It was on the 20th of May.", "20 May"),
        ("Two dozen people left.", "24 people"),
        ("Thousands of people left.", "thousands of people"),
        ("THOUSANDS left.", "Thousands left"),
        ("Rates rose by 0.75%.", "0.75 %"),
        ("It took 15 1/2 years.", "15 1/2 people"),
        ("It cost 20million euros.", "20 million euros"),
    ],
)
def test_a_number_may_be_written_as_what_it_says(tokenizer, tmp_path, source, summary):
    for mode in ("words", "names"):
        one = wording(tokenizer, tmp_path, mode, f"{source} euros people left in of million")
        assert one.read(one.start, summary).may_end


@pytest.mark.parametrize(
    ("source", "held", "foreign"),
    [
        ("Mr. Okafor left. The mayor stayed.", ["Mr. Okafor left. People left"], ["Mr. People"]),
        ("J. Okafor left in the U.S. since.", ["the U.S. People left", "J. Okafor"], ["J. People"]),
        ("The mayor left.", ["left: People", "left. People"], ["left; People", "left, People"]),
        ("The mayor left. Dr. Who stayed.", ["Dr. Who", "Since. People left"], ["Dr. People"]),
        (
            "O'Malley and O’Brien left with D'Angelo's people.",
            ["O'Malley", "O’Brien", "O’Brien's people", "D'Angelo's people", "D'Angelo"],
            ["O'Brien", "D'Malley", "the Malley", "the O", "Angelo"],
        ),
        ("L'Espagne et l'eau d'Anne.", ["l'eau d'Espagne", "L'eau", "Anne"], []),
        ("People don't go to John's.", ["people don't", "the John", "John's"], ["don't's"]),
    ],
)
def test_no_title_initial_or_apostrophe_makes_a_name(tokenizer, tmp_path, source, held, foreign):
    one = wording(tokenizer, tmp_path, "words", source)
    assert [text for text in held if not one.read(one.start, text).may_end] == []
    assert [text for text in foreign if one.read(one.start, text).may_end] == []


def test_what_is_left_of_a_word_that_cannot_be_read_is_no_word(tokenizer, tmp_path):
    text = (
        "Łeople left \u4e2d100 streets of Peop\u4e2dle and x\u4e2d. \u4e2dPerson1\u4e2d met "
        "\u4e2dHelen\u4e2d. Oka\u4e2dFor left \u4e2dCue. (p\u4e2d0.05) and \u4e2dL\u4e2d or 17\u4e2dm."
    )
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.unk_token_id in ids
    one = wording(tokenizer, tmp_path, text=text)
    assert one.read(one.start, "100 streets").may_end
    for part in ("Person1", "the Helen", "left", "0.05", "17"):
        assert one.read(one.start, part).may_end
    for part in (
        "the Cue",
        "the For",
        "the Oka",
        "the eople",
        "the Peop",
        "the le",
        "the x",
        "05",
        "the L",
    ):
        assert not one.read(one.start, part).may_end


@pytest.mark.parametrize(
    ("text", "cut", "held", "foreign"),
    [
        ("The mayor of Northbridge", False, ["Northbridge"], []),
        ("The mayor of Northbridge", None, ["the mayor"], ["Northbridge"]),
        ("The mayor of Northbridge", True, ["the mayor"], ["Northbridge"]),
        ("The mayor of Northbridge.", True, ["Northbridge"], []),
        ("Mayor in 1998, 20", True, ["1998"], ["20"]),
        ("Mayor in 1998, 20.", True, ["1998"], ["20"]),
        ("Mayor in 1998, 20 ", True, ["1998"], ["20"]),
        ("Mayor in 1998, 20.", False, ["1998", "20"], []),
        ("Mayor in 1998, 20.", None, ["1998", "20"], []),
    ],
)
def test_what_the_end_of_a_text_breaks_off_is_none_of_its_words(
    tokenizer, tmp_path, text, cut, held, foreign
):
    made = faithful_to(tokenizer, "words", _listed(tmp_path))
    one = made.wording(np.array([*tokenizer(text)["input_ids"], tokenizer.pad_token_id]), cut)
    assert [word for word in held if not one.read(one.start, word).may_end] == []
    assert [word for word in foreign if one.read(one.start, word).may_end] == []


def test_a_text_without_a_full_stop_has_all_its_words():
    """A headline ends in a name; what is left out of a long text may be half of one."""
    mini = Summarizer.from_pretrained("pegasus-mini", device="cpu", threads=1, num_beams=2)
    text = "Floods in Northbridge worry Mayor Helen Okafor"
    (job,) = [Job(tuple(tokens)) for tokens in mini.reader.encode([text])]
    for broken_off in (False, True):
        wording = mini.writer.wording(replace(job, broken_off=broken_off), None)
        assert wording.read(wording.start, "Helen").may_end
        assert wording.read(wording.start, "Okafor").may_end is not broken_off
    held = mini([text, text + " and " + text], max_input_tokens=12, long="truncate")
    assert [one.truncated for one in held] == [True, True]


def test_names_alone(tokenizer, tmp_path):
    one = wording(tokenizer, tmp_path, "names")
    assert one.read(one.start, "the qwertz mayor of Northbridge").may_end
    for text in ("the Qwertz", "18 floods", "eighteen floods"):
        assert not one.read(one.start, text).may_end


def random_model(tokenizer):
    import torch

    torch.manual_seed(1)
    config = PegasusConfig(
        vocab_size=len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=16,
        decoder_ffn_dim=16, encoder_attention_heads=2, decoder_attention_heads=2,
        max_position_embeddings=128, max_length=24, init_std=0.5, scale_embedding=True,
    )  # fmt: skip
    return PegasusForConditionalGeneration(config).eval()


@pytest.mark.parametrize(
    "settings", [{}, {"num_beams": 4}, {"do_sample": True, "seed": 3}, {"num_beams": 2, "do_sample": True}]
)
def test_a_random_model_says_only_what_is_allowed(tokenizer, tmp_path, settings):
    common = ["the", "in", "of", "people", "left", "and", "was"]
    (tmp_path / COMMON_WORDS).write_text("\n".join(common))
    inputs = tokenizer([TEXT, TEXT[:80]], return_tensors="pt", padding=True)
    found = random_model(tokenizer).generate(
        **inputs,
        faithful=faithful_to(tokenizer, "words", tmp_path),
        return_dict_in_generate=True,
        **settings,
    )
    assert found.prevented.sum() > 0, "a random model says what is not there"
    for row, source in zip(found.sequences, (TEXT, TEXT[:80])):
        text = tokenizer.decode(row, skip_special_tokens=True)
        known = {word.lower() for word in re.findall(r"\w+", source)} | {*common}
        known |= {"s", "t", "re", "ve", "ll", "d"}
        words = re.findall(r"[^\W\d_]+\w*", text)
        small = {"m", "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"}
        small |= {"eleven", "twelve", "seventeen", "first", "second", "third", "fourth", "fifth", "sixth"}
        small |= {"seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth", "zeroth", "million"}
        # The limit may break the last word off.
        assert not {word.lower() for word in words[:-1]} - known - small, text
        assert not unknown_numbers(" ".join(text.split()[:-1]), known_values(source)), text


def test_the_bundled_model_counts_what_was_prevented():
    mini = Summarizer.from_pretrained("pegasus-mini", device="cpu", threads=1, num_beams=2)
    texts = [TEXT, "Xyzzyq Vorbenfeld met Qintar Ulmbach in Grzegorzów. " * 4]
    free, held = mini(texts, faithful="off"), mini(texts, faithful="words")
    for one, other, text in zip(free, held, texts):
        assert one.prevented == 0
        assert "prevented" not in one.to_dict()
        assert not [warning for warning in other.warnings if warning.startswith(("numbers", "names"))]
        if other.prevented == 0:
            assert other.text == one.text
        assert not unknown_numbers(other.text, known_values(text))


def test_what_was_prevented_in_pieces_of_a_long_text_counts():
    """The last round alone may be free to write what it likes: its sources were held to words before."""
    text = (Path(__file__).resolve().parents[2] / "examples" / "mars.txt").read_text()
    mini = Summarizer.from_pretrained("pegasus-mini", device="cpu", threads=1)
    free, held = mini(text, faithful="off"), mini(text, faithful="words")
    assert len(held.chunks) > 1
    assert free.prevented == 0
    assert held.prevented > 0


def test_words_are_held_to_where_a_list_lies_beside_the_checkpoint(tmp_path, caplog):
    """The bundled model has one; a model without it writes as it likes, as it does elsewhere."""
    text = "Xyzzyq Vorbenfeld met Qintar Ulmbach in Grzegorzów. " * 4
    mini = Summarizer.from_pretrained("pegasus-mini", device="cpu", threads=1, num_beams=2)
    held = mini(text, faithful="words")
    assert mini(text).text == held.text
    assert mini(text).prevented == held.prevented > 0
    bare = tmp_path / "bare"
    shutil.copytree(locate("pegasus-mini"), bare, ignore=shutil.ignore_patterns(COMMON_WORDS))
    without = Summarizer.from_pretrained(bare, device="cpu", threads=1, num_beams=2)
    assert without(text).text == mini(text, faithful="off").text
    assert without(text).prevented == 0
    assert caplog.messages == []
    assert without(text, faithful="words").text == without(text, faithful="names").text
    without(text, faithful="words")
    (said,) = caplog.messages  # once
    assert f"{bare} has no common_words.txt: every word in small letters is free" in said


def test_settings_are_checked():
    with pytest.raises(BadSetting, match="off, words, names"):
        Summarizer.from_pretrained("pegasus-mini", device="cpu", faithful="always")


def test_a_list_may_be_written_anyhow(tmp_path):
    """A mark at its beginning, other line ends and words twice are no matter; figures are no words."""
    file = tmp_path / COMMON_WORDS
    file.write_bytes("\ufeffthe\r\nof\r\n\r\nthe\r\n12\r\n3rd\r\nm²\r\nstraße".encode())
    assert read_common_words(file) == ["the", "of", "the", "straße"]
    file.write_bytes(b"")
    assert read_common_words(file) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("straße\n".encode("latin-1"), "not UTF-8 .* Save one word a line as UTF-8"),
        ("the\n".encode("utf-16"), "not UTF-8"),
        (b"the\nof\0and\n", "line 2 holds a byte 0"),
        (b"the\n" + b"a" * 2_000_000, "line 2 holds more than 200 letters without a blank"),
    ],
)
def test_what_is_no_list_of_words_is_said_to_be_none(tmp_path, content, said):
    file = tmp_path / COMMON_WORDS
    file.write_bytes(content)
    with pytest.raises(BadData, match=said):
        read_common_words(file)


def test_a_list_that_is_too_large_is_not_read(tmp_path):
    file = tmp_path / COMMON_WORDS
    with file.open("wb") as made:
        made.truncate(2**30)  # no byte of it is on the disk
    with pytest.raises(BadData, match="1,073,741,824 bytes"):
        read_common_words(file)


def test_words_of_scripts_with_marks_and_without_capitals_are_whole(tmp_path):
    """Vowels of Devanagari, Arabic and decomposed accents are marks: they part no words."""
    for text in ("हिन्दी में लिखा गया", "كَتَبَ الوَلَدُ", "Cafe\u0301 Zu\u0308rich e\u0301te\u0301"):
        assert list_common_words([text.lower()] * 4) == sorted(set(text.lower().split()))
        read = read_source(text, Lexicon([], frozenset()), frozenset(text))
        assert set(text.split()) <= read.words.words
        assert not {one[:place] for one in text.split() for place in range(1, len(one))} & read.words.words


def test_common_words_are_counted_as_they_are_written(tmp_path):
    texts = ["The boat left. The boats left London"] * 3 + ["a boat, a 2nd boat and the boat's crew"]
    assert list_common_words(texts, least=3) == ["boat", "boats", "left"]
    (tmp_path / "words.txt").write_text("a\nb\n")
    assert read_common_words(tmp_path / "words.txt") == ["a", "b"]
