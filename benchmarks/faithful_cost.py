r"""What faithful decoding adds to a step of the search, in processor time.

    scripts/bench faithful-cost --model pegasus-mini --data ../shared/data/gumsum/test.jsonl.xz
    scripts/bench faithful-cost --vocabulary ../shared/vocab/pegasus-96k \
        --data ../shared/data/gumsum/test.jsonl.xz

The first is a model, one text at a time: what belongs to the rule (states, verdicts, looking for allowed
tokens) against the rest of the step. The second has no model: a decoder whose numbers are drawn around what
the source says next and around frequent tokens, over a vocabulary of any size. It gives the time of a step,
to be held against the step of whatever model has that vocabulary.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pegasus import AutoTokenizer, Summarizer
from pegasus.backends.packed.decoder import PackedScores
from pegasus.data.read import read_pairs
from pegasus.generation.config import GenerationConfig
from pegasus.generation.processors.faithful import AllowedWords
from pegasus.generation.processors.logits_processors import LogitsProcessors
from pegasus.generation.search.search_settings import SearchSettings
from pegasus.generation.search.strategies import choose
from pegasus.generation.session import DecoderSession, HostScores, Reading, decoder_session, run_search
from pegasus.generation.session.run import SearchRun
from pegasus.hub import locate
from pegasus.summarizer.faithful import faithful_to


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="pegasus-mini")
    parser.add_argument("--vocabulary", type=Path, help="a folder with a tokenizer: no model is run")
    parser.add_argument("--data", type=Path, required=True, help="rows with a document")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--beams", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=48, help="steps of the decoder without a model")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--mode", default="words", choices=("words", "names"))
    asked = parser.parse_args()
    texts = [pair.document for pair in islice(read_pairs([asked.data]), asked.rows)]
    print(json.dumps((_without_model if asked.vocabulary else _with_model)(asked, texts)))


class Clock:
    """Processor time in some functions, and what is spent in others inside of them is taken off."""

    def __init__(self) -> None:
        self.spent, self.calls = 0.0, 0

    @contextmanager
    def around(self, *places: tuple[Any, str], less: tuple[tuple[Any, str], ...] = ()) -> Iterator[None]:
        """Counts the calls of some attributes of classes or modules."""
        before = [(owner, name, getattr(owner, name)) for owner, name in (*places, *less)]
        for owner, name, function in before[: len(places)]:
            setattr(owner, name, self._timed(function, 1))
        for owner, name, function in before[len(places) :]:
            setattr(owner, name, self._timed(function, -1))
        try:
            yield
        finally:
            for owner, name, function in before:
                setattr(owner, name, function)

    def _timed(self, function: Callable[..., Any], sign: int) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            begin = time.process_time()
            try:
                found = function(*arguments, **named)
                return list(found) if hasattr(found, "__next__") else found
            finally:
                self.spent += sign * (time.process_time() - begin)
                self.calls += 1

        return timed


_RULE = (
    (AllowedWords, "edits"),
    (AllowedWords, "carry"),
    (decoder_session, "askable"),
    (decoder_session, "best_accepted"),
)


def _with_model(asked: argparse.Namespace, texts: list[str]) -> dict[str, Any]:
    summarizer = Summarizer.from_pretrained(asked.model, device="cpu", threads=1, dtype=asked.dtype)
    rule, step = Clock(), Clock()
    found = []
    for text in texts:
        rule.spent = step.spent = 0.0
        step.calls = 0
        # What of the best tokens the search wants anyway is no cost of the rule.
        with rule.around(*_RULE, less=((PackedScores, "best"),)), step.around((SearchRun, "step")):
            summarizer(text, faithful=asked.mode, num_beams=asked.beams, long="truncate", check=False)
        found.append((rule.spent / step.calls, step.spent / step.calls))
    rule_N, step_N = np.array(found).T
    shares = rule_N / (step_N - rule_N)
    return {
        "model": asked.model, "rows": len(texts), "beams": asked.beams,
        "rule_ms": 1e3 * float(np.median(rule_N)), "rest_ms": 1e3 * float(np.median(step_N - rule_N)),
        "share": float(np.median(shares)), "first": float(shares[0]),
        "quartiles": np.percentile(shares, (25, 75)).tolist(),
    }  # fmt: skip


def _without_model(asked: argparse.Namespace, texts: list[str]) -> dict[str, Any]:
    tokenizer = AutoTokenizer.from_pretrained(asked.vocabulary)
    found = []
    folder = locate("pegasus-mini")  # whose list of common words is taken
    faithful = faithful_to(tokenizer, asked.mode, folder)
    assert faithful is not None
    for number, text in enumerate(texts):
        source = np.array(tokenizer(text, truncation=True, max_length=512)["input_ids"])
        rule = Clock()
        decoder = _Likely(source, len(tokenizer), number)
        with rule.around(*_RULE, less=((HostScores, "best"),)):
            words = AllowedWords(faithful, [source])
            begin = time.process_time()
            faithful.wording(source)
            reading = time.process_time() - begin
            _search(decoder, words, asked)
        found.append((rule.spent / decoder.steps, reading, words.refused[0] / decoder.steps))
    rule_N, reading_N, refused_N = np.array(found).T
    return {
        "vocabulary": len(tokenizer), "rows": len(texts), "beams": asked.beams,
        "rule_ms": 1e3 * float(np.median(rule_N)), "first_ms": 1e3 * float(rule_N[0]),
        "quartiles_ms": (1e3 * np.percentile(rule_N, (25, 75))).tolist(),
        "source_ms": 1e3 * float(np.median(reading_N)), "refused_a_step": float(np.median(refused_N)),
    }  # fmt: skip


def _search(decoder: _Likely, words: AllowedWords, asked: argparse.Namespace) -> None:
    config = GenerationConfig(num_beams=asked.beams)
    settings = SearchSettings(
        max_length=asked.tokens, eos=(1,), beams=asked.beams, processors=LogitsProcessors([words])
    )
    search = choose(config).begin(np.zeros((1, 1), dtype=np.int64), settings, config)
    run_search(search, DecoderSession(decoder, np.asarray, np.asarray))


class _Likely:
    """A decoder that goes on as the source does, or with frequent tokens, which have low ids.

    Args:
        source: tokens.
        vocabulary: V.
        seed: of its numbers.
    """

    encoded, length = Reading(), 0

    def __init__(self, source: np.ndarray, vocabulary: int, seed: int) -> None:
        self.source, self.vocab_size, self.steps = source, vocabulary, 0
        self._random = np.random.default_rng(seed)
        self._frequent_V = -np.log(np.arange(vocabulary, dtype=np.float32) + 100)
        self._frequent_V[:105] = -np.inf
        self._frequent_V[1] = -20.0

    def computing(self) -> Any:
        return nullcontext()

    def step(self, step: Any) -> Reading:
        noise_RV = self._random.gumbel(size=(len(step.tokens_RT), self.vocab_size)).astype(np.float32)
        self._logits_RV = self._frequent_V + 0.5 * noise_RV
        for row, token in enumerate(step.tokens_RT[:, -1].tolist()):
            places = np.flatnonzero(self.source[:-1] == token)
            self._logits_RV[row, self.source[places + 1]] += 6.0
            self._logits_RV[row, self.source] += 2.0
        self.steps += 1
        self.length += step.tokens_RT.shape[1]
        return Reading()

    def scores(self) -> HostScores:
        return HostScores(self._logits_RV)

    def copied(self, rows: Any) -> HostScores:
        return HostScores(np.array(self._logits_RV if rows is None else self._logits_RV[rows]))


if __name__ == "__main__":
    main()
