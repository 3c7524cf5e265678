from __future__ import annotations

import itertools

import pytest
from hypothesis import given, strategies as st

from pegasus.evaluation.measures import (
    consecutive_repeats,
    copied_fragments,
    extractiveness,
    means,
    measure,
    novelty,
    repeated_share,
    words_of,
)


def test_repetition_of_the_worked_example() -> None:
    words = ["go", "go", "go", "stop"]
    assert repeated_share(words, 1) == 3 / 4
    assert repeated_share(words, 2) == 2 / 3
    assert consecutive_repeats(words) == (3 / 4, 3 / 4)


@pytest.mark.parametrize(
    ("text", "longest", "together"),
    [
        ("", 0, 0),
        ("a", 0, 0),
        ("a b c", 0, 0),
        ("a b a b", 1, 1),
        ("a b a b a", 4 / 5, 1),  # "a b" twice, and shifted by one "b a" twice
        ("x a a y b b z", 2 / 7, 4 / 7),
        ("a b c a b c x", 6 / 7, 6 / 7),
    ],
)
def test_consecutive_repeats(text: str, longest: float, together: float) -> None:
    assert consecutive_repeats(text.split()) == (pytest.approx(longest), pytest.approx(together))


@given(st.lists(st.sampled_from("abc"), max_size=14))
def test_consecutive_repeats_equal_a_plain_search(words: list[str]) -> None:
    covered: set[int] = set()
    longest = 0
    for start, size in itertools.product(range(len(words)), range(1, len(words) // 2 + 1)):
        times = 1
        while words[start + times * size : start + (times + 1) * size] == words[start : start + size]:
            times += 1
        if times > 1:
            covered |= set(range(start, start + times * size))
            longest = max(longest, times * size)
    count = max(len(words), 1)
    assert consecutive_repeats(words) == (
        pytest.approx(longest / count),
        pytest.approx(len(covered) / count),
    )


def test_copying_of_the_worked_example() -> None:
    fragments = copied_fragments(["a", "b", "c", "d"], ["a", "b", "x", "d"])
    assert fragments == [2, 1]
    assert extractiveness(fragments, 4) == {
        "coverage": 3 / 4,
        "density": 5 / 4,
        "normalized_density": 5 / 16,
    }
    assert set(extractiveness([], 0).values()) == {0.0}


def test_the_longest_copy_is_taken_wherever_it_stands() -> None:
    assert copied_fragments(["a", "b", "x", "a", "b", "c", "d"], ["a", "b", "c", "d", "e", "a"]) == [4, 1]


def test_novelty() -> None:
    source, said = ["a", "b", "c"], ["b", "a", "b"]
    assert novelty(source, said, 1) == 0
    assert novelty(source, said, 2) == 1 / 2
    assert novelty(source, said, 4) == 0


def test_everything_at_once_and_of_nothing() -> None:
    found = measure("The cat sat. The dog ran.", "The dog sat")
    assert (found["characters"], found["words"], found["compression"]) == (11, 3, 2)
    assert (found["new1"], found["new2"]) == (0, 1 / 2)
    assert found["coverage"] == 1
    assert set(measure("The cat.", "").values()) == {0.0}
    assert means([{"words": 2.0}, {"words": 4.0}]) == {"words": 3.0}
    assert words_of("Don't, ÉTÉ 5x!") == ["don", "t", "t", "5x"]
