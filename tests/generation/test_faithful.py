"""Faithful decoding: lazily asked sessions answer as masks do, beams find what brute force finds."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from pegasus.generation.config import GenerationConfig
from pegasus.generation.processors.allowed_tokens import AllowedTokens
from pegasus.generation.processors.faithful import AllowedWords, Faithful
from pegasus.generation.processors.logits_processors import Diversity, LogitsProcessors, MinLength
from pegasus.generation.processors.phrase_processors import NoRepeatedNgrams
from pegasus.generation.processors.word_list import WordList
from pegasus.generation.processors.wording import Lexicon, SourceWords, Wording
from pegasus.generation.search.search_settings import SearchSettings
from pegasus.generation.search.strategies import choose
from pegasus.generation.session import DecoderSession, HostScores, Reading, log_softmax, run_search
from pegasus.generation.table_session import TableSession

PIECES = [None, None, "", " ", "a", "b", "A", "ab", " a", " A", " b", ".", "1"]
EOS, TEXTS, MOST = 1, 2, 7
SOURCES = (
    SourceWords(words=WordList(["ab", "Aba"]), numbers=WordList(["11"]), names=WordList(["Aba"])),
    SourceWords(words=WordList(["bA", "b"])),
)


def logits_of(seed):
    def logits(text, written):
        random = np.random.default_rng([seed, text, *written])
        return (random.standard_normal(len(PIECES)) * 2).astype(np.float32)

    return logits


class TableDecoder:
    """A decoder over a table of numbers, for the session that backends use."""

    vocab_size, encoded = len(PIECES), Reading()

    def __init__(self, logits):
        self.logits, self.rows, self.texts = logits, None, np.arange(TEXTS)

    @property
    def length(self):
        return 0 if self.rows is None else len(self.rows[0])

    def computing(self):
        return nullcontext()

    def step(self, step):
        before = (
            [()] * len(step.tokens_RT) if self.rows is None else [row[: step.keep] for row in self.rows]
        )
        if step.parents_R is not None:
            before = [before[parent] for parent in step.parents_R]
        self.texts = self.texts if step.texts_B is None else self.texts[step.texts_B]
        self.rows = [row + tuple(new) for row, new in zip(before, step.tokens_RT.tolist())]
        owners = np.repeat(self.texts, len(self.rows) // len(self.texts))
        places = [
            self.logits(int(text), row[: len(row) - back])
            for text, row in zip(owners, self.rows)
            for back in range(step.positions - 1, -1, -1)
        ]
        self._scores = np.stack(places)
        return Reading()

    def scores(self):
        return HostScores(self._scores)

    def copied(self, rows):
        return HostScores(np.array(self._scores if rows is None else self._scores[rows]))


def faithful() -> Faithful:
    lexicon = Lexicon(pieces=PIECES, ends=frozenset({EOS}), common=WordList(["a", "b"]))
    return Faithful(lexicon, lambda text: SOURCES[int(text)])


def processors(*others) -> LogitsProcessors:
    one = faithful()
    words = AllowedWords(one, [np.array([12])] * TEXTS)
    words.allowed = [AllowedTokens(Wording(one.lexicon, source), one.shared) for source in SOURCES]
    return LogitsProcessors([*others, words])


def found(session, beams, config, *others, returned=1):
    settings_ = SearchSettings(
        max_length=MOST, eos=(EOS,), beams=beams, groups=config.num_beam_groups, returned=returned,
        processors=processors(*others, *[Diversity(0.5)] * (config.num_beam_groups > 1)), seed=3,
    )  # fmt: skip
    search = choose(config).begin(np.zeros((TEXTS, 1), dtype=np.int64), settings_, config)
    return run_search(search, session)


CONFIGS = {
    "greedy": GenerationConfig(),
    "beams": GenerationConfig(num_beams=3),
    "groups": GenerationConfig(num_beams=4, num_beam_groups=2, diversity_penalty=0.5),
    "sampling": GenerationConfig(do_sample=True, top_k=0),
    "sampling of few": GenerationConfig(do_sample=True, top_k=3),
    "sampling with beams": GenerationConfig(do_sample=True, num_beams=3, top_k=0),
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("seed", range(12))
def test_sessions_say_what_masks_say(name, seed):
    config, logits = CONFIGS[name], logits_of(seed)
    lazy = DecoderSession(TableDecoder(logits), np.asarray, np.asarray)
    one = found(lazy, config.num_beams, config)
    other = found(TableSession(len(PIECES), TEXTS, logits), config.num_beams, config)
    np.testing.assert_array_equal(one.sequences_NT, other.sequences_NT)


def text_of(row) -> str:
    return "".join(PIECES[token] or "" for token in row)


@settings(max_examples=60)
@given(st.integers(0, 2**31), st.sampled_from(sorted(CONFIGS)))
def test_every_word_that_ends_is_allowed(seed, name):
    config = CONFIGS[name]
    session = DecoderSession(TableDecoder(logits_of(seed)), np.asarray, np.asarray)
    hypotheses = found(session, config.num_beams, config)
    own = [one.wording for one in processors().processors[-1].allowed]
    for text, (row, ended) in enumerate(zip(hypotheses.sequences_NT.tolist(), hypotheses.finished_N)):
        state = own[text].read(own[text].start, text_of(row))
        assert state
        assert not ended or state.may_end
    assert np.isfinite(hypotheses.scores_N).all()


@settings(max_examples=60)
@given(st.integers(0, 2**31), st.sampled_from(sorted(CONFIGS)), st.sampled_from([1, 2, 3]))
def test_a_word_is_finished_though_a_run_comes_again(seed, name, size):
    """Where nothing that is not banned could finish a word the ban falls: only the limit breaks one off."""
    config, rule = CONFIGS[name], NoRepeatedNgrams(size)
    session = DecoderSession(TableDecoder(logits_of(seed)), np.asarray, np.asarray)
    hypotheses = found(session, config.num_beams, config, rule)
    own = [one.wording for one in processors().processors[-1].allowed]
    for text, row in enumerate(hypotheses.sequences_NT.tolist()):
        state = own[text].read(own[text].start, text_of(row))
        assert state
        assert hypotheses.lengths_N[text] == MOST or state.may_end, text_of(row)


@pytest.mark.parametrize("seed", range(6))
def test_many_beams_find_what_brute_force_finds(seed):
    logits, own = logits_of(seed), [one.wording for one in processors().processors[-1].allowed]
    config = GenerationConfig(num_beams=64, length_penalty=0.0)
    settings_ = SearchSettings(
        max_length=5,
        eos=(EOS,),
        beams=64,
        length_penalty=0.0,
        processors=processors(),
        early_stopping=False,
    )
    session = DecoderSession(TableDecoder(logits), np.asarray, np.asarray)
    search = choose(config).begin(np.zeros((TEXTS, 1), dtype=np.int64), settings_, config)
    hypotheses = run_search(search, session)
    for text in range(TEXTS):
        best = max(
            (score(logits, text, row), row)
            for length in range(4)
            for row in product(range(2, len(PIECES)), repeat=length)
            if own[text].read(own[text].start, text_of(row)).may_end
        )
        said = [token for token in hypotheses.sequences_NT[text].tolist()[1:] if token > EOS]
        assert hypotheses.scores_N[text] == pytest.approx(max(best[0], hypotheses.scores_N[text]), abs=1e-4)
        if hypotheses.finished_N[text]:
            assert tuple(said) == best[1]


def score(logits, text, row) -> float:
    total, written = 0.0, (0,)
    for token in (*row, EOS):
        total += float(log_softmax(logits(text, written)[None])[0, token])
        written = (*written, token)
    return total


def test_a_row_that_others_leave_nothing_ends():
    """No run of two may come again, and after "Ab" only "a" would be allowed."""
    session = DecoderSession(
        TableDecoder(lambda text, written: np.zeros(len(PIECES), np.float32)), np.asarray, np.asarray
    )
    others = (NoRepeatedNgrams(1), MinLength(3, (EOS,)))
    hypotheses = found(session, 1, GenerationConfig(), *others)
    assert (hypotheses.lengths_N > 2).all()


def test_nothing_changes_where_all_is_allowed():
    everything = Lexicon(pieces=PIECES, ends=frozenset({EOS}), common=WordList(["a"]), free=True)

    def plain(text, written):
        values = logits_of(5)(text, written)
        values[[0, 6, 9, 12]] = -30  # neither capitals nor figures, nor padding
        return values

    config = GenerationConfig(num_beams=3)
    results = []
    for rules in (
        [],
        [AllowedWords(Faithful(everything, lambda text: SourceWords()), [np.array([3])] * TEXTS)],
    ):
        session = DecoderSession(TableDecoder(plain), np.asarray, np.asarray)
        settings_ = SearchSettings(max_length=7, eos=(EOS,), beams=3, processors=LogitsProcessors(rules))
        search = choose(config).begin(np.zeros((TEXTS, 1), dtype=np.int64), settings_, config)
        results.append(run_search(search, session))
    np.testing.assert_array_equal(results[0].sequences_NT, results[1].sequences_NT)
    np.testing.assert_array_equal(results[0].scores_N, results[1].scores_N)
