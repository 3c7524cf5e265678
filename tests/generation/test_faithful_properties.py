"""Faithful decoding over random vocabularies and sources, held against readings of the finished text."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

from pegasus.generation.config import GenerationConfig
from pegasus.generation.processors.allowed_tokens import AllowedTokens
from pegasus.generation.processors.faithful import AllowedWords, Faithful
from pegasus.generation.processors.logits_processors import LogitsProcessors
from pegasus.generation.processors.phrase_processors import NoRepeatedNgrams
from pegasus.generation.processors.word_list import WordList
from pegasus.generation.processors.wording import Lexicon, SourceWords
from pegasus.generation.search.search_settings import SearchSettings
from pegasus.generation.search.strategies import choose
from pegasus.generation.session import DecoderSession, HostScores, Reading, log_softmax, run_search

EOS, LETTERS = 1, "abAB ."
LENGTH = 3


@st.composite
def cases(draw):
    """A vocabulary with all letters and some longer pieces, what its language has, and a source."""
    longer = draw(st.lists(st.text(alphabet=LETTERS, min_size=2, max_size=3), max_size=5, unique=True))
    words = st.lists(st.text(alphabet="abAB", min_size=1, max_size=3), max_size=4)
    small = st.lists(st.text(alphabet="ab", min_size=1, max_size=3), max_size=4)
    return [None, None, "", *LETTERS, *longer], draw(small), draw(words), draw(st.integers(0, 2**31))


def rule(pieces, common, source) -> Faithful:
    names = [word for word in source if not word.islower() and word[0].lower() + word[1:] not in common]
    openers = [word for word in source if word.islower()]
    found = SourceWords(WordList(source), WordList(openers), WordList(), WordList(names))
    return Faithful(Lexicon(pieces, frozenset({EOS}), WordList(common)), lambda text: found)


def may_stand(text: str, common, source) -> bool:
    """Whether a finished text holds words of the source and the list alone."""
    openers = [one for one in source if one.islower()]
    for match in re.finditer("[abAB]+", text):
        word, before = match.group(), text[: match.start()].rstrip(" ")
        small = word[0].lower() + word[1:]
        if word in source or (word == small and word in common):
            continue
        if word == small or (before and not before.endswith(".")) or small not in {*common, *openers}:
            return False  # no capital counts for nothing but the first of a sentence
        names = [one for one in source if one[0].isupper() and one[0].lower() + one[1:] not in common]
        if any(one.startswith(word) and one != word for one in names):
            return False  # what begins as a name shall be that name
    return True


class OneText:
    """A decoder over a table of numbers for one text."""

    encoded = Reading()

    def __init__(self, pieces, seed):
        self.vocab_size, self.seed, self.rows = len(pieces), seed, None

    @property
    def length(self):
        return 0 if self.rows is None else len(self.rows[0])

    def computing(self):
        return np.errstate()

    def logits(self, written):
        random = np.random.default_rng([self.seed, *written])
        return (random.standard_normal(self.vocab_size) * 2).astype(np.float32)

    def step(self, step):
        before = [()] * len(step.tokens_RT) if self.rows is None else self.rows
        if step.parents_R is not None:
            before = [before[parent] for parent in step.parents_R]
        self.rows = [row + tuple(new) for row, new in zip(before, step.tokens_RT.tolist())]
        return Reading()

    def scores(self):
        return HostScores(np.stack([self.logits(row) for row in self.rows]))

    copied = None


def search(decoder, faithful, config, length=LENGTH + 2):
    processors = LogitsProcessors([AllowedWords(faithful, [np.array([3])])])
    asked = SearchSettings(
        max_length=length,
        eos=(EOS,),
        beams=config.num_beams,
        length_penalty=0.0,
        early_stopping=False,
        processors=processors,
    )
    begun = choose(config).begin(np.zeros((1, 1), dtype=np.int64), asked, config)
    return run_search(begun, DecoderSession(decoder, np.asarray, np.asarray))


def text_of(row, pieces) -> str:
    return "".join(pieces[token] or "" for token in row)


@settings(max_examples=150, deadline=None)
@given(cases(), st.sampled_from([1, 3, 8]))
def test_every_word_said_is_allowed_and_nothing_ends_nowhere(case, beams):
    pieces, common, source, seed = case
    config = GenerationConfig(num_beams=beams, length_penalty=0.0)
    found = search(OneText(pieces, seed), rule(pieces, common, source), config, length=12)
    row = found.sequences_NT[0].tolist()[1:]
    assert np.isfinite(found.scores_N).all()
    if found.finished_N[0]:
        assert may_stand(text_of(row, pieces), common, source)
    else:  # the limit broke a word off, which some allowed word begins with
        whole = re.sub("[abAB]+$", "", text_of(row, pieces))
        assert may_stand(whole, common, source)


@settings(max_examples=25, deadline=None)
@given(cases())
def test_beams_find_the_best_of_all_allowed_texts(case):
    pieces, common, source, seed = case
    decoder = OneText(pieces, seed)
    best = -np.inf
    for length in range(LENGTH + 1):
        for row in product(range(2, len(pieces)), repeat=length):
            text = text_of(row, pieces)
            # What says nothing stands where a word is whole.
            parts = [text_of(row[:place], pieces) for place, token in enumerate(row) if token == 2]
            if all(may_stand(one, common, source) for one in (*parts, text)):
                best = max(best, _score(decoder, row))
    config = GenerationConfig(num_beams=128, length_penalty=0.0)
    # A place more than the texts have: at the last one the limit ends whatever is there.
    found = search(OneText(pieces, seed), rule(pieces, common, source), config, length=LENGTH + 3)
    row = [token for token in found.sequences_NT[0].tolist()[1:] if token != EOS]
    if found.finished_N[0] and len(row) <= LENGTH:
        assert found.scores_N[0] == pytest.approx(best, abs=1e-4)
    else:
        assert found.scores_N[0] >= best - 1e-4


def _score(decoder, row) -> float:
    total, written = 0.0, (0,)
    for token in (*row, EOS):
        total += float(log_softmax(decoder.logits(written)[None])[0, token])
        written = (*written, token)
    return total


@settings(max_examples=150, deadline=None)
@given(cases(), st.booleans(), st.lists(st.sampled_from(["1", "12", "1 b", "1,2"]), max_size=2))
def test_all_tokens_are_those_accepted_one_by_one(case, free, numbers):
    pieces, common, source, seed = case
    pieces = [*pieces, "1", "2", ",", "'", "1,", "b's", "s", " b.", "'s", ". A", "a.b", " 1"]
    names = [word for word in source if not word.islower()]
    openers = WordList(word for word in source if word.islower())
    lexicon = Lexicon(pieces, frozenset({EOS}), WordList(common), free=free)
    held = SourceWords(WordList([*source, "b's"]), openers, WordList(numbers), WordList(names))
    faithful = Faithful(lexicon, lambda text: held)
    every = AllowedTokens(faithful.wording(np.array([3])), faithful.shared)
    random, state = np.random.default_rng(seed), every.wording.start
    for _ in range(8):
        allowed = every.tokens(state).tolist()
        assert allowed == [token for token in range(len(pieces)) if every.wording.accepts(state, token)]
        assert allowed == [token for token in range(len(pieces)) if state.verdicts[token]]
        said = [token for token in allowed if token != EOS]
        assert allowed, "a dead end"
        if not said:
            return
        state = every.wording.after(state, int(random.choice(said)))
        assert state


@settings(max_examples=150, deadline=None)
@given(cases(), st.sampled_from([1, 2, 5]), st.sampled_from([None, 1, 2]))
@example(([None, None, "", *"abAB", " ", "."], [], [], 1706), 2, None)  # the second best of the first step
def test_where_nothing_is_prevented_nothing_changes(case, beams, runs):
    pieces, common, source, seed = case
    config = GenerationConfig(num_beams=beams, length_penalty=0.0)
    faithful, refused = rule(pieces, [*common, "a", "b"], [*source, "A"]), []
    rules = [[AllowedWords(faithful, [np.array([3])], refused=refused)], []]
    found = []
    for processors in rules:
        processors = [*([NoRepeatedNgrams(runs)] if runs else []), *processors]
        asked = SearchSettings(
            max_length=5,
            eos=(EOS,),
            beams=beams,
            length_penalty=0.0,
            processors=LogitsProcessors(processors),
        )
        begun = choose(config).begin(np.zeros((1, 1), dtype=np.int64), asked, config)
        found.append(run_search(begun, DecoderSession(OneText(pieces, seed), np.asarray, np.asarray)))
    if not refused[0]:
        np.testing.assert_array_equal(found[0].sequences_NT, found[1].sequences_NT)
        np.testing.assert_allclose(found[0].scores_N, found[1].scores_N, atol=1e-5)
