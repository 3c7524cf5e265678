"""Which tokens stay when there are too many."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from pegasus.errors import BadSetting
from pegasus.tokenization.call.lengths import Limits, cut, padded_length, windows

SIZES = st.integers(0, 30)
SIDES = st.sampled_from(["left", "right"])


@given(SIZES, st.integers(1, 12), st.integers(0, 11), SIDES)
def test_windows_cover_everything_and_overlap_by_the_stride(
    length: int, size: int, stride: int, side
) -> None:
    limits = Limits(truncation="longest_first", stride=stride, truncation_side=side)
    if stride >= size and length > size:
        with pytest.raises(BadSetting, match="stride"):
            windows(length, size, limits)
        return
    found = windows(length, size, limits)
    assert {place for start, end in found for place in range(start, end)} == set(range(length))
    assert all(end - start <= size for start, end in found)
    assert found[0] == ((0, min(size, length)) if side == "right" else (max(0, length - size), length))
    for (start, end), (after, until) in pairwise(found):
        assert (end - after if side == "right" else until - start) == stride


@given(SIZES, SIZES, st.integers(0, 40))
def test_longest_first_takes_from_the_longer_text_one_by_one(first: int, second: int, room: int) -> None:
    ours, theirs = cut(first, second, room, Limits(truncation="longest_first"))
    kept = ours[0][1] - ours[0][0], theirs[0][1] - theirs[0][0]
    assert sum(kept) == min(room, first + second)
    left, right = first, second
    while left + right > room:
        if left > right:
            left -= 1
        else:
            right -= 1
    # One token may fall to either text: at equal lengths the longer one, or the second, keeps it.
    assert abs(kept[0] - left) <= 1
    if first == second:
        assert kept[1] >= kept[0]


@pytest.mark.parametrize(
    ("strategy", "lengths", "room"), [("only_first", (3, 9), 8), ("only_second", (9, 3), 8)]
)
def test_a_text_that_is_too_short_to_give_is_refused(strategy, lengths, room) -> None:
    with pytest.raises(BadSetting, match="longest_first"):
        cut(*lengths, room, Limits(truncation=strategy))


def test_only_one_of_the_two_gives() -> None:
    assert cut(9, 3, 8, Limits(truncation="only_first"))[0][0] == (0, 5)
    assert cut(3, 9, 8, Limits(truncation="only_second"))[1][0] == (0, 5)
    with pytest.raises(BadSetting, match="second text"):
        cut(9, None, 3, Limits(truncation="only_second"))


@given(st.integers(0, 50), st.integers(1, 50), st.sampled_from([None, 1, 8]))
def test_padded_length(longest: int, maximum: int, multiple) -> None:
    limits = Limits(padding="max_length", max_length=maximum, multiple=multiple)
    width = padded_length(longest, limits)
    assert width >= max(longest, maximum)
    assert width % (multiple or 1) == 0
    assert width - max(longest, maximum) < (multiple or 1)
    assert padded_length(longest, Limits()) == longest
