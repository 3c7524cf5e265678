"""Summaries that meet their limit while held to words end at a whole one, whatever it is made of."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from pegasus import Summarizer
from pegasus.generation.processors.allowed_tokens import AllowedTokens
from pegasus.hub import locate
from pegasus.summarizer.endings import HeldEnding, SourceEnding, end_at_word, within_words
from pegasus.summarizer.faithful import faithful_to
from pegasus.summarizer.settings import COMMON_WORDS

LETTERS = "abAéřŘдШ中" + "\u0301"
EOS, UNK = 1, 2
#: Numbers whose parts are no numbers of the source.
NUMBERS = ("2.5 million", "1,200", "17")


class Spelling:
    """A tokenizer of single characters and some longer pieces; of other characters it has the bytes.

    Args:
        pieces: what it has, blanks as "▁".
        by_bytes: whether it has bytes.
    """

    all_special_ids, eos_token_id, unk_token_id = (0, EOS, UNK), EOS, UNK

    def __init__(self, pieces: list[str], by_bytes: bool) -> None:
        self.names = ["<pad>", "</s>", "<unk>", *dict.fromkeys(pieces)]
        self.names += [f"<0x{byte:02X}>" for byte in range(256)] * by_bytes
        self.numbers = {name: number for number, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [self.names[number] for number in ids]

    def encode(self, text: str) -> list[int]:
        found = []
        for sign in text.replace(" ", "▁"):
            as_bytes = [f"<0x{byte:02X}>" for byte in sign.encode()]
            found += [sign] if sign in self.numbers else as_bytes
        return [self.numbers.get(name, UNK) for name in found]

    def decode(self, ids: list[int]) -> str:
        data = b""
        for name in self.convert_ids_to_tokens([number for number in ids if number > UNK]):
            byte = re.fullmatch("<0x(..)>", name)
            data += bytes.fromhex(byte[1]) if byte else name.replace("▁", " ").encode()
        return data.decode(errors="replace")


words = st.text(alphabet=LETTERS, min_size=1, max_size=5).filter(lambda word: word[0] != "\u0301")


@st.composite
def cases(draw):
    """A tokenizer, the words of its list, and a source."""
    longer = st.lists(st.text(alphabet="▁" + LETTERS, min_size=2, max_size=3), max_size=6)
    single = draw(st.lists(st.sampled_from(LETTERS), unique=True))
    by_bytes = draw(st.booleans())
    pieces = ["▁", ".", ",", *"0123456789", *(single if by_bytes else LETTERS), *draw(longer)]
    small = st.text(alphabet="abéд", min_size=1, max_size=4)
    source = draw(st.lists(st.one_of(words, st.sampled_from(NUMBERS)), min_size=1, max_size=6))
    return Spelling([*pieces, *"milon"], by_bytes), draw(st.lists(small, max_size=3)), source


def may_stand(text: str, source: list[str], common: list[str]) -> bool:
    """Whether a text holds words of the source and the list alone, and numbers whole."""
    for number in re.findall(r"\d+(?:[.,]\d+)*(?: million)?", text):
        if number not in source and number != "2,500,000" and number not in ("2500000", "1200"):
            return False
    text = text.replace("2.5 million", "")
    for match in re.finditer("[^\\W\\d_](?:[^\\W\\d_]|\u0301)*", text):
        word = match.group()
        small = word[0].lower() + word[1:]
        # A word that opens a sentence may have a capital, and there the source's word lose it.
        known = {*source, *common, *(one[0].lower() + one[1:] for one in source)}
        if small in NUMBER_WORDS or word in known or small in known:
            continue
        return False
    return True


#: Numbers that need no source, the one that it has in figures, and what stands behind apostrophes.
NUMBER_WORDS = {
    "a", "s", "t", "d", "m", "seventeen", "zero", "one", "two", "three", "four", "five", "six", "seven",
    "eight", "nine", "ten", "eleven", "twelve", "zeroth", "first", "second", "third", "fourth", "fifth",
    "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth",
}  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(cases(), st.integers(1, 14), st.integers(0, 2**31), st.integers(1, 4))
def test_a_held_summary_ends_at_a_whole_word_wherever_its_limit_is(
    tmp_path_factory, case, limit, seed, most
):
    tokenizer, common, source = case
    text = " ".join(source) + " ."
    folder = tmp_path_factory.getbasetemp() / "lists"
    folder.mkdir(exist_ok=True)
    (folder / COMMON_WORDS).write_text("\n".join([*common, "a"]), encoding="utf-8")
    faithful = faithful_to(tokenizer, "words", folder)
    wording = faithful.wording(np.array(tokenizer.encode(text)))
    every = AllowedTokens(wording, faithful.shared)
    random, state, row = np.random.default_rng(seed), wording.start, []
    for _ in range(limit):
        said = [token for token in every.tokens(state).tolist() if token > UNK]
        if not said:
            break
        row.append(int(random.choice(said)))
        state = wording.after(state, row[-1])
        assert state
    broken = tokenizer.decode(row).strip()
    if not broken:
        return
    ending = HeldEnding(wording, SourceEnding(text))
    whole = "".join(end_at_word([broken], ending))
    assert may_stand(whole, source, common), (broken, whole)
    assert "\ufffd" not in whole
    assert whole == broken[: len(whole)] or whole.startswith(broken.rstrip("\ufffd .,"))
    if re.search(r"\w", broken):
        assert whole, "a lone word is made whole"
    kept, shortened = within_words([whole], most)
    if whole and shortened:
        fewer = "".join(end_at_word(kept, ending, after=" "))
        assert may_stand(fewer, source, common), (whole, fewer)


@pytest.mark.parametrize(
    ("broken", "ends"),
    [("powder ba", "powder"), ("ba", "ba"), ("powder ba,", "powder ba"), ("pow", "powder"), ("a", "a")],
)
def test_a_word_of_the_list_may_be_the_beginning_of_another(tmp_path, broken, ends):
    (tmp_path / COMMON_WORDS).write_text("ba\na\n")
    tokenizer = Spelling(["▁", ",", *"abdegiknoprw"], by_bytes=False)
    faithful = faithful_to(tokenizer, "words", tmp_path)
    text = "baking powder "
    ending = HeldEnding(faithful.wording(np.array(tokenizer.encode(text))), SourceEnding(text))
    assert "".join(end_at_word([broken], ending)) == ends


TEXT = (
    "Antonín Dvořák wrote the symphony in Spillville, where $2.5 million was given to Jiří Bělohlávek. "
    "Свято-Троицкий is a monastery with 1,200 books of Μανόλης Ανδρόνικος and 17.5 hectares."
)


@pytest.fixture(scope="module")
def mini() -> Summarizer:
    return Summarizer.from_pretrained("pegasus-mini", threads=1)


@pytest.mark.parametrize("how", ["max_new_tokens", "max_length"])
@pytest.mark.parametrize("limit", [*range(3, 30, 3)])
def test_the_bundled_model_ends_at_whole_words_of_its_text(mini, limit, how):
    summary = mini(TEXT, num_beams=2, generate={how: limit, "min_length": 0})
    common = set((locate("pegasus-mini") / COMMON_WORDS).read_text(encoding="utf-8").split())
    known = {unicodedata.normalize("NFKC", word) for word in re.findall(r"\w+", TEXT)}
    said = re.findall(r"[^\W\d_]\w*", summary.text)
    assert said, summary
    for word in said:
        assert word in known | common or word[0].lower() + word[1:] in common, summary.text
    for number in re.findall(r"\d[\d.,]*\d|\d", summary.text):
        assert number in ("2.5", "1,200", "1200", "17.5", "2,500,000"), summary.text
    assert not re.search(r"2\.5(?! million)", summary.text), summary.text


def test_a_lone_broken_word_becomes_the_one_of_the_text(mini):
    texts = {mini(TEXT, generate={"max_new_tokens": limit, "min_length": 0}).text for limit in (2, 3, 4)}
    assert texts <= {"Antonín", "Antonín Dvořák", "Dvořák"}, texts


@pytest.mark.parametrize(
    ("text", "source", "ends"),
    [
        ("It costs $2.", "It costs $2.5 today.", "It costs"),
        ("The town has 1,", "The town has 1,200 people.", "The town has"),
        ("The U.", "The U.S. army left.", "The"),
        ("It costs $2.", "It costs $2. That is 2.5 euros.", "It costs $2."),
        ('They said "flood"', 'They said "flood" here.', 'They said "flood"'),
        ("They left Caf", "They left Cafe\u0301 Noir.", "They left"),
        ("They left Cafe", "They left Cafe\u0301 Noir.", "They left"),
        ("in 2019–", "It was in 2019–20.", "in"),
    ],
)
def test_a_free_summary_ends_before_what_its_text_goes_on_with(text, source, ends):
    assert "".join(end_at_word([text], SourceEnding(source))) == ends


def test_a_lone_word_that_a_new_sentence_begins_with_goes(mini):
    ending = SourceEnding("The river rose. Dvořák left.")
    assert end_at_word(["The river rose. ", "Dvo"], ending) == ["The river rose."]
