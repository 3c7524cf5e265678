"""Text as it comes: streamers with the interface of transformers 4.34, and a generator.

A streamer gets ``put(tokens)`` for the prompt and for each token, and ``end()``. Words are handed on when
they are complete, which is when the next one begins.
"""

from __future__ import annotations

import queue
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from pegasus.errors import BadSetting


class BaseStreamer:
    """What ``generate`` hands tokens to."""

    def put(self, value: Any) -> None:
        """Takes tokens: the prompt [1, T] first, then one [1] at a time."""
        raise NotImplementedError

    def end(self) -> None:
        """No more will come."""
        raise NotImplementedError


class TextStreamer(BaseStreamer):
    """Writes text to standard output as it becomes certain.

    Args:
        tokenizer: decodes tokens.
        skip_prompt: whether the prompt is left out.
        **decode_kwargs: for ``tokenizer.decode``, for instance ``skip_special_tokens=True``.
    """

    def __init__(self, tokenizer: Any, skip_prompt: bool = False, **decode_kwargs: Any) -> None:
        self.tokenizer, self.skip_prompt, self.decode_kwargs = tokenizer, skip_prompt, decode_kwargs
        self._tokens: list[int] = []
        self._handed_on = 0
        self._at_prompt = True

    def put(self, value: Any) -> None:
        """Takes tokens and hands on what is certain: all but the last word, which may go on."""
        tokens = np.asarray(value)
        if tokens.ndim > 1 and len(tokens) > 1:
            raise BadSetting(f"a streamer follows one text, found {len(tokens)}: generate them one by one.")
        prompt, self._at_prompt = self._at_prompt, False
        if prompt and self.skip_prompt:
            return
        self._tokens += tokens.reshape(-1).tolist()
        text = self.tokenizer.decode(self._tokens, **self.decode_kwargs)
        certain = len(text) if text.endswith("\n") else text.rfind(" ") + 1
        self._hand_on(text[:certain])

    def end(self) -> None:
        """Hands on the rest."""
        text = self.tokenizer.decode(self._tokens, **self.decode_kwargs)
        rest = text[self._handed_on :]
        self._tokens, self._handed_on, self._at_prompt = [], 0, True
        self.on_finalized_text(rest, stream_end=True)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Writes text to standard output; a line break ends it."""
        sys.stdout.write(text + ("\n" if stream_end else ""))
        sys.stdout.flush()

    def _hand_on(self, text: str) -> None:
        new, self._handed_on = text[self._handed_on :], max(self._handed_on, len(text))
        self.on_finalized_text(new)


class TextIteratorStreamer(TextStreamer):
    """Hands text to whoever iterates over it, usually in another thread than ``generate``.

    Args:
        tokenizer: decodes tokens.
        skip_prompt: whether the prompt is left out.
        timeout: seconds to wait for the next piece; None: for ever.
        **decode_kwargs: for ``tokenizer.decode``.
    """

    def __init__(
        self, tokenizer: Any, skip_prompt: bool = False, timeout: float | None = None, **decode_kwargs: Any
    ) -> None:
        super().__init__(tokenizer, skip_prompt, **decode_kwargs)
        self.timeout = timeout
        self.text_queue: queue.Queue[str | None] = queue.Queue()

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Puts text into the queue, and None after the last piece."""
        self.text_queue.put(text, timeout=self.timeout)
        if stream_end:
            self.text_queue.put(None, timeout=self.timeout)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        text = self.text_queue.get(timeout=self.timeout)
        if text is None:
            raise StopIteration
        return text
