"""How batches are dealt out for learning in the library: neither that nor a framework is needed for it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pegasus.backends.native import batches
from pegasus.backends.native.batches import Texts, deal, fits, portions
from pegasus.spec.batch import IGNORED

PAD, START = 0, 3


def batch() -> dict[str, np.ndarray]:
    """Two texts, one with a hole in its mask; labels that are not counted in between and at the end."""
    return {
        "input_ids": np.array([[5, 6, 7, 1, 0], [8, 9, 10, 11, 1]]),
        "attention_mask": np.array([[1, 1, 1, 1, 0], [1, 0, 1, 1, 1]]),
        "labels": np.array([[21, IGNORED, 23, IGNORED], [31, 32, 33, 34]]),
        "mlm_labels": np.array([[IGNORED, 40, *[IGNORED] * 3], [41, *[IGNORED] * 3, 42]]),
    }


def test_texts_stand_behind_each_other_without_padding() -> None:
    texts = Texts(batch(), ("target", "mlm"), PAD, START)
    assert (texts.sizes, texts.source_length, texts.target_length) == ([7, 8], 5, 4)
    found = {
        name: getattr(value, "tolist", lambda v=value: v)()
        for name, value in texts.together([1, 0]).items()
    }
    assert found == {
        "texts": 2,
        "source_offsets": [0, 4, 8],
        "source": [8, 10, 11, 1, 5, 6, 7, 1],
        "source_positions": [0, 2, 3, 4, 0, 1, 2, 3],
        "target_offsets": [0, 4, 7],
        # The start token, then the labels but the last; padding where one is not counted.
        "target": [START, 31, 32, 33, START, 21, PAD],
        "labels": [31, 32, 33, 34, 21, IGNORED, 23],
        "mlm_tokens": 3,
        "mlm_places": [0, 3, 5],
        "mlm_labels": [41, 42, 40],
    }


def test_arrays_are_as_the_library_reads_them() -> None:
    for name, value in Texts(batch(), ("target", "mlm"), PAD, START).together([0]).items():
        if name not in ("texts", "mlm_tokens"):
            assert (value.dtype, value.flags.c_contiguous) == (np.int32, True), name


def test_without_a_part_nothing_of_it_is_read() -> None:
    given = batch()
    del given["labels"], given["attention_mask"]
    texts = Texts(given, ("mlm",), PAD, START)
    assert (texts.sizes, texts.target_length) == ([5, 5], 0)
    assert texts.together([0])["target"].tolist() == []
    assert "mlm_places" not in Texts(batch(), ("target",), PAD, START).together([0])


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("input_ids", (0, 0), 50),
        ("input_ids", (1, 2), -1),
        ("labels", (0, 0), 50),
        ("mlm_labels", (1, 0), 50),
        ("mlm_labels", (0, 4), 7),  # hidden, and padding
        ("attention_mask", (0, slice(None)), 0),  # a text of padding alone
    ],
)
def test_what_the_library_must_not_read_does_not_fit(name: str, place: tuple[int, int], value: int) -> None:
    given = batch()
    assert fits(given, 50)
    given[name][place] = value
    assert not fits(given, 50)


def test_texts_are_dealt_evenly_and_always_alike() -> None:
    sizes = [3, 9, 9, 1, 5, 7]
    hands = deal(sizes, 3)
    assert hands == [[1, 0], [2, 3], [5, 4]]
    assert sorted(text for hand in hands for text in hand) == [*range(6)]
    assert deal([4], 3) == [[0], [], []]


def test_portions_are_of_about_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "PORTION_TOKENS", 40)
    sizes = [20] * 10
    assert [*portions(sizes, range(10))] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert [*portions(sizes, [])] == []
    assert [*portions([500, 1], [0, 1])] == [[0], [1]]


def test_no_framework_is_loaded() -> None:
    code = """
import sys
from pegasus.backends.native import batches, inference, learning
rooms = ("torch", "jax", "tensorflow", "pegasus.backends.packed")
print(*(name for name in rooms if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
