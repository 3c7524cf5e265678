"""How many passes of the decoder a token costs, without guesses and with those of the source or a model.

    python benchmarks/drafting.py --model pegasus-mini examples/*.txt
    python benchmarks/drafting.py --assistant FOLDER --guesses 5 articles/*.txt

One line per text: tokens said, passes and seconds of plain greedy search, then those with guesses. It fails
if the words differ.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch

from pegasus import AutoTokenizer, PegasusForConditionalGeneration
from pegasus.generation.session import Answer, Ask, DecoderSession


class Counted:
    """Counts the passes of the sessions that one model opens."""

    def __init__(self, model: Any) -> None:
        self.model, self.passes = model, 0
        self._open = model.open_session
        model.open_session = self._open_counted

    def _open_counted(self, request: Any) -> DecoderSession:
        session = self._open(request)
        step = session.step

        def counted(ask: Ask) -> Answer:
            self.passes += ask.tokens_RT.shape[1] > 0
            return step(ask)

        session.step = counted
        return session


def measured(counted: Counted, input_ids: Any, options: dict[str, Any]) -> tuple[list[int], int, float]:
    """The words, the passes and the seconds of one summary."""
    counted.passes, begun = 0, time.perf_counter()
    found = counted.model.generate(input_ids, num_beams=1, **options)
    return found[0].tolist(), counted.passes, time.perf_counter() - begun


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", nargs="+", type=Path)
    parser.add_argument("--model", default="pegasus-mini")
    parser.add_argument("--assistant", help="a smaller model that guesses; default: the source guesses")
    parser.add_argument("--guesses", type=int, default=5, help="tokens per guess from the source")
    parser.add_argument("--new-tokens", type=int, default=96)
    arguments = parser.parse_args()
    model = PegasusForConditionalGeneration.from_pretrained(arguments.model)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    counted, options = Counted(model), {"max_new_tokens": arguments.new_tokens}
    guesses: dict[str, Any] = {"prompt_lookup_num_tokens": arguments.guesses}
    if arguments.assistant:
        guesses = {"assistant_model": PegasusForConditionalGeneration.from_pretrained(arguments.assistant)}
    limit, totals = model.config.max_position_embeddings, [0, 0, 0.0, 0, 0.0]
    with torch.inference_mode():
        for path in arguments.texts:
            ids = tokenizer(
                path.read_text(), truncation=True, max_length=limit, return_tensors="pt"
            ).input_ids
            words, passes, seconds = measured(counted, ids, options)
            same, fewer, quicker = measured(counted, ids, {**options, **guesses})
            assert same == words, f"{path}: guesses changed the words"
            said = len(words) - 1
            print(
                f"{path.name:30} {said:4} tokens {passes:4} {seconds:6.2f} s -> {fewer:4} {quicker:6.2f} s"
            )
            totals = [t + v for t, v in zip(totals, (said, passes, seconds, fewer, quicker))]
    said, passes, seconds, fewer, quicker = totals
    print(
        f"passes per token: {passes / said:.2f} -> {fewer / said:.2f}; "
        f"seconds: {seconds:.2f} -> {quicker:.2f}"
    )


if __name__ == "__main__":
    main()
