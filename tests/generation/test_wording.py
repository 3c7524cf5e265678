"""Which words may be written: read character by character, against obvious readings of whole texts."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from pegasus.generation.processors.allowed_tokens import AllowedTokens, SharedTokens
from pegasus.generation.processors.word_list import WordList
from pegasus.generation.processors.wording import Lexicon, SourceWords, Wording

COMMON = WordList(["the", "then", "in", "of", "person", "people", "came", "isn't", "street", "for", "may"])
SMALL = WordList(["one", "two", "first"])
NUMBER_WORDS = frozenset({"one", "two", "first", "twenty", "hundred", "million"})
SOURCE = SourceWords(
    words=WordList(["Person2", "Gdańsk", "UN", "blockchain", "Herbert"]),
    openers=WordList(["blockchain"]),
    numbers=WordList(["1,200", "1200", "2 million", "20th", "5", "10:30", "twenty", "2019-20", "2019"]),
    names=WordList(["Person2", "Gdańsk", "UN", "Herbert"]),
)


def wording(*, common=COMMON, free=False, source=SOURCE) -> Wording:
    lexicon = Lexicon(
        pieces=[None, None], ends=frozenset({1}), common=common, free=free, small_numbers=SMALL,
        number_words=NUMBER_WORDS,
    )  # fmt: skip
    return Wording(lexicon, source)


def is_allowed(text: str, **options) -> bool:
    """Whether a text may be written and may end there."""
    one = wording(**options)
    return one.read(one.start, text).may_end


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "The people came.", "the people", "In Gdańsk, the UN came for Person2.",
        "Person2's people",
        "Blockchain for people", "\"The people\"", "Then: The people came. In the street", "isn't", "Isn't",
        "1,200 people", "1200 people", "2 million people", "the 20th", "5 people", "Twenty people",
        "twenty people", "two people", "Two people", "in 10:30", "5, 1200",
        "2019-20", "in 2019, 5 people", "5. Two people", "the UN's", "(Herbert)", "$5", "5%",
    ],
)  # fmt: skip
def test_allowed(text):
    assert is_allowed(text)


@pytest.mark.parametrize(
    "text",
    [
        "the Person came", "Person came", "Pers", "the peopl", "peoplethe", "Gdansk", "the Street", "un",
        "the Blockchain", "Herb", "1,20", "200", "1", "2 people", "2", "million people", "3 people",
        "two million", "twenty two", "twenty-two", "5 1200", "5-1200", "5,1200", "1,200,5", "2019-5", "55",
        "5th", "hundred", "Hundred", "isn't't", "people'x", "10:3", "x", "THE", "5 two",
    ],
)  # fmt: skip
def test_refused(text):
    assert not is_allowed(text)


def test_without_a_list_small_letters_are_free_and_a_sentence_begins_as_the_source_does():
    free = {"common": WordList(), "free": True}
    assert is_allowed("whatever people qwertz in Gdańsk", **free)
    assert is_allowed("Blockchain qwertz. Herbert", **free)
    for text in ("Whatever", "the Person", "twenty-two", "hundred", "3"):
        assert not is_allowed(text, **free)


words = st.text(alphabet="abAB", min_size=1, max_size=4)


@settings(max_examples=200)
@given(st.lists(words, max_size=6), st.lists(words, max_size=6), st.text(alphabet="abAB .,", max_size=12))
def test_words_are_those_of_the_lists(common, source, text):
    common = [word.lower() for word in common]
    given_words = SourceWords(words=WordList(source))
    one = wording(common=WordList(common), source=given_words)
    state, opens, good = one.start, True, True
    for word in re.findall(r"[abAB]+|[ .,]", text):
        if word in " .,":
            opens = word == "." or (opens and word == " ")
            continue
        plain = word[0].lower() + word[1:] if opens else word
        good = good and (word in source or plain in common)
        opens = False
    state = one.read(state, text)
    assert state.may_end == good


@settings(max_examples=100)
@given(
    st.lists(words, min_size=1, max_size=5),
    st.lists(st.sampled_from(["1", "1,2", "1 a", "b-1", "1.1"]), max_size=3),
    st.integers(0, 2**32),
)
def test_whatever_is_begun_can_be_ended(source, numbers, seed):
    letters = "abAB12 ,.-"
    one = Wording(
        Lexicon(pieces=[None, None, *letters, "ab", "A", " a", "1,"], ends=frozenset({1})),
        SourceWords(words=WordList(source), numbers=WordList(numbers)),
    )
    every = AllowedTokens(one, SharedTokens(one.lexicon))
    random, state = np.random.default_rng(seed), one.start
    for _ in range(12):
        allowed = every.tokens(state)
        assert len(allowed)
        assert [token for token in range(len(one.lexicon.pieces)) if one.accepts(state, token)] == list(
            allowed
        )
        if (token := int(random.choice(allowed))) == 1:
            break
        state = one.after(state, token)
    for _ in range(10):  # the shortest way out: letters until a word is whole
        if state.may_end:
            break
        state = next(s for c in letters if (s := one.read(state, c)) and any(t[0] for t in s.threads))
    assert state
