"""Sampling: filters as in transformers 4.34.0, and draws in the right proportions."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from pegasus.generation.config import GenerationConfig
from pegasus.generation.search.sampling import BeamSampling, Noise, Sampling
from pegasus.generation.search.sampling_filters import filters_for, softmax
from pegasus.generation.search.search_settings import SearchSettings
from pegasus.generation.session import run_search
from pegasus.generation.table_session import TableSession, log_softmax

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "generation-filters.json").read_text())
EOS = 1
#: Critical values of chi squared at p = 0.001, by degrees of freedom.
CHI_SQUARED = {2: 13.82, 3: 16.27, 5: 20.52, 12: 32.91}


def filtered(scores: np.ndarray, **settings) -> np.ndarray:
    for one in filters_for(GenerationConfig(do_sample=True, **settings)):
        scores = one(scores)
    return scores


@pytest.mark.parametrize("record", GOLDEN["records"], ids=lambda record: str(record["settings"]))
def test_the_same_tokens_are_left(record):
    found = filtered(np.array(GOLDEN["scores"], dtype=np.float32), **record["settings"])
    assert ["".join(str(int(one)) for one in row) for row in np.isfinite(found)] == record["kept"]


def test_temperature_divides():
    scores = np.array([[1.0, 2.0, 4.0]], dtype=np.float32)
    np.testing.assert_allclose(softmax(filtered(scores, temperature=0.5)), softmax(scores * 2), rtol=1e-6)


def fixed(logits):
    """The same distribution everywhere."""
    return lambda text, written: np.array(logits, dtype=np.float32)


def draws(logits, count, settings, length=1):
    """``count`` sampled sequences of one text."""
    search_settings = SearchSettings(max_length=1 + length, eos=(EOS,), returned=count)
    config = GenerationConfig(do_sample=True, **settings)
    search = Sampling(np.zeros((1, 1), dtype=np.int64), search_settings, filters_for(config), None, 7)
    return run_search(search, TableSession(len(logits), 1, fixed(logits)))


def chi_squared(counts: np.ndarray, probabilities: np.ndarray) -> float:
    expected = probabilities * counts.sum()
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize(
    "settings",
    [{"top_k": 0}, {"top_k": 4}, {"top_k": 0, "top_p": 0.8}, {"top_k": 0, "temperature": 1.7}],
    ids=str,
)
def test_one_token_is_drawn_with_its_probability(settings):
    logits = np.array([0.0, 0.5, 2.0, -1.0, 1.0, 0.3], dtype=np.float32)
    kept = softmax(filtered(logits[None], **settings))[0]
    tokens = draws(logits, 20_000, settings).sequences_NT[:, 1]
    counts = np.bincount(tokens, minlength=len(logits))
    possible = kept > 0
    assert counts[~possible].sum() == 0
    assert chi_squared(counts[possible], kept[possible]) < CHI_SQUARED[int(possible.sum()) - 1]


def test_whole_sequences_are_drawn_with_their_probability():
    """Three tokens, two steps, EOS ends: every sequence as often as its probability says."""
    logits = np.array([0.2, -0.4, 0.9, 0.0], dtype=np.float32)
    log_probs = log_softmax(logits[None])[0]
    expected = {}
    for first, second in itertools.product(range(4), repeat=2):
        said = (0, first, 0) if first == EOS else (0, first, second)
        log_prob = log_probs[first] + (0 if first == EOS else log_probs[second])
        expected[said] = float(np.exp(log_prob))
    found = draws(logits, 20_000, {"top_k": 0}, length=2)
    assert sum(expected.values()) == pytest.approx(1)
    keys = list(expected)
    seen = [tuple(row) for row in found.sequences_NT.tolist()]
    counts = np.array([seen.count(key) for key in keys])
    assert counts.sum() == len(seen)
    assert len(keys) == 13
    assert chi_squared(counts, np.array([expected[key] for key in keys])) < CHI_SQUARED[12]


def test_scores_are_log_probabilities_before_the_filters():
    logits = np.array([0.0, 0.5, 2.0, -1.0], dtype=np.float32)
    found = draws(logits, 50, {"top_k": 2, "temperature": 0.3})
    log_probs = log_softmax(logits[None])[0]
    np.testing.assert_allclose(found.scores_N, log_probs[found.sequences_NT[:, 1]], rtol=1e-5)


def beam_draws(logits, beams, count, length, settings, seed):
    search_settings = SearchSettings(max_length=1 + length, eos=(EOS,), beams=beams, returned=beams)
    config = GenerationConfig(do_sample=True, num_beams=beams, **settings)
    search = BeamSampling(
        np.zeros((count, 1), dtype=np.int64), search_settings, filters_for(config), None, seed
    )
    return run_search(search, TableSession(len(logits), count, fixed(logits)))


def test_beams_draw_without_replacement():
    """After one step the M beams of a text are the best M of 2M draws among the words of all M beams.

    The beams are alike and all count, as in transformers 4.34, so one word may be drawn once for each.
    """
    logits = np.array([0.0, -50.0, 2.0, -1.0, 1.0, 0.3, 0.1], dtype=np.float32)
    texts = 4000
    found = beam_draws(logits, 2, texts, 1, {"top_k": 0}, seed=3)
    pairs = found.sequences_NT[:, 1].reshape(texts, 2)
    words = [0, 2, 3, 4, 5, 6] * 2
    weights = np.exp(logits[words]) / np.exp(logits[words]).sum()
    expected = np.zeros((7, 7))
    for draw in itertools.permutations(range(12), 4):
        left, probability = 1.0, 1.0
        for one in draw:
            probability *= weights[one] / left
            left -= weights[one]
        best = sorted(draw, key=lambda one: -weights[one])[:2]
        expected[words[best[0]], words[best[1]]] += probability
    possible = expected > 1e-3
    counts = np.zeros((7, 7))
    np.add.at(counts, (pairs[:, 0], pairs[:, 1]), 1)
    seen, wanted = counts[possible], expected[possible]
    freedom = int(possible.sum()) - 1
    # The value that chi squared exceeds with p = 0.001, by Wilson and Hilferty.
    critical = freedom * (1 - 2 / (9 * freedom) + 3.09 * np.sqrt(2 / (9 * freedom))) ** 3
    assert chi_squared(seen, wanted / wanted.sum()) < critical


def test_the_tail_that_is_not_asked_for_changes_no_draw():
    """With top-k the search asks for k tokens, with recorded scores for all: the words are the same."""
    scores = np.random.default_rng(0).normal(size=(5, 40))
    few = -np.sort(-scores, axis=1)[:, :6]
    some, all_of_them = Noise(3).over(few), Noise(3).over(np.where(scores >= few[:, -1:], scores, -np.inf))
    np.testing.assert_array_equal(
        few[np.arange(5), some.argmax(1)], scores[np.arange(5), all_of_them.argmax(1)]
    )


def test_a_seed_repeats_itself():
    logits = np.array([0.0, -3.0, 0.4, 0.2], dtype=np.float32)
    first, second = (draws(logits, 30, {"top_k": 0}, length=6) for _ in range(2))
    assert first.sequences_NT.tolist() == second.sequences_NT.tolist()
    assert len(np.unique(first.sequences_NT, axis=0)) > 20
