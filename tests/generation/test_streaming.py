"""Streamers hand on whole words, and all of them."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from pegasus.errors import BadSetting
from pegasus.generation.streaming import TextIteratorStreamer, TextStreamer

WORDS = {0: "", 1: "", 5: "One", 6: " tw", 7: "o", 8: " three", 9: ".", 10: "\n"}


class Words:
    def decode(self, tokens, **kwargs):
        return "".join(WORDS[token] for token in tokens)


def feed(streamer, tokens):
    streamer.put(np.array([[0]]))
    for token in tokens:
        streamer.put(np.array([token]))
    streamer.end()


def test_pieces_end_where_words_end(capsys):
    class Noting(TextStreamer):
        pieces: list[str] = []  # noqa: RUF012

        def on_finalized_text(self, text, stream_end=False):
            self.pieces.append(text)

    streamer = Noting(Words())
    feed(streamer, [5, 6, 7, 8, 9, 1])
    assert "".join(streamer.pieces) == "One two three."
    assert all(piece == "" or piece.endswith(" ") for piece in streamer.pieces[:-1])
    assert "One " in streamer.pieces
    feed(streamer, [5])
    assert "".join(streamer.pieces) == "One two three.One", "a streamer can be used again"


def test_standard_output(capsys):
    feed(TextStreamer(Words(), skip_prompt=True), [5, 10, 8, 1])
    assert capsys.readouterr().out == "One\n three\n"


def test_an_iterator_in_another_thread():
    streamer = TextIteratorStreamer(Words(), timeout=5)
    thread = threading.Thread(target=feed, args=(streamer, [5, 6, 7, 8, 9, 1]))
    thread.start()
    assert "".join(streamer) == "One two three."
    thread.join()


def test_one_text_only():
    with pytest.raises(BadSetting, match="one text, found 2"):
        TextStreamer(Words()).put(np.zeros((2, 1), dtype=int))
