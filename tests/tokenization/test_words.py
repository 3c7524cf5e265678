"""Words are cut once, and the best way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import pytest
from hypothesis import example, given, settings, strategies as st

from pegasus.tokenization.segmentation import words
from pegasus.tokenization.segmentation.words import (
    ExactCutter,
    FreshCutter,
    WordCutter,
    spellings,
    words_of,
)

UNK = 9
PIECES = {
    "a": (10, -1.0),
    "b": (11, -1.5),
    "aa": (12, -2.0),
    "ab": (13, -2.25),
    "aba": (14, -4.0),
    "▁": (15, -2.0),
    "▁a": (16, -2.5),
}
LOWEST = -4.0


def every_way(word: str) -> list[tuple[float, list[int]]]:
    """Brute force: all ways to cut a word, unknown characters fused, with their scores."""
    found = []
    for count in range(len(word)):
        for places in combinations(range(1, len(word)), count):
            parts = [word[start:stop] for start, stop in zip((0, *places), (*places, len(word)))]
            if any(len(part) > 1 and part not in PIECES for part in parts):
                continue
            rows = [PIECES.get(part, (UNK, LOWEST - 10)) for part in parts]
            ids = [
                number
                for place, (number, _) in enumerate(rows)
                if not (number == UNK and place and rows[place - 1][0] == UNK)
            ]
            found.append((sum(score for _, score in rows), ids))
    return found


@settings(deadline=None)
@given(st.text(alphabet="ab▁x", min_size=1, max_size=9))
@example("aaaaaaa")
@example("xxaxx")
def test_the_exact_cutter_finds_the_best_way(word: str) -> None:
    ways = every_way(word)
    best = max(score for score, _ in ways)
    cut = ExactCutter(PIECES, LOWEST, UNK).cut(word)
    assert cut in [ids for score, ids in ways if score == best]


def test_of_equals_the_longest_last_piece_wins() -> None:
    assert ExactCutter(PIECES, LOWEST, UNK).cut("aaa") == [10, 12]


@given(st.text(alphabet="ab▁", max_size=12))
def test_the_words_are_the_text(text: str) -> None:
    assert "".join(words_of(text)) == text
    assert all("▁" not in word[1:] for word in words_of(text))


SPELLING = {number: piece for piece, (number, _) in PIECES.items()}


def fresh_cutter(engine: Callable[[list[str]], list[list[int]]]) -> FreshCutter:
    def spell(ids: Sequence[int]) -> list[str]:
        return [SPELLING.get(number, "?") for number in ids]

    return FreshCutter(engine, lambda: ExactCutter(PIECES, LOWEST, UNK), spell, UNK)


def test_each_word_is_cut_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def engine(batch: list[str]) -> list[list[int]]:
        asked.extend(batch)
        return [[len(word)] for word in batch]

    cutter = WordCutter(fresh_cutter(engine))
    assert cutter.cut(["▁one▁two", "▁two▁one", ""]) == [[4, 4], [4, 4], []]
    assert sorted(asked) == ["▁one", "▁two"]
    monkeypatch.setattr(words, "_REMEMBERED", 1)
    assert cutter.cut(["▁one▁two▁six"]) == [[4, 4, 4]]
    assert sorted(asked) == sorted(["▁one", "▁two"] * 2 + ["▁six"])


@pytest.mark.parametrize(
    ("word", "ids"),
    [("▁aaa", [16, 10, 12]), ("aaa", [12, 10]), ("▁axx", [16, UNK]), ("▁xax", [15, UNK, 10, UNK])],
)
def test_pieces_that_fit_in_another_order_are_ordered_by_the_rule(word: str, ids: list[int]) -> None:
    exact = ExactCutter(PIECES, LOWEST, UNK).cut(word)
    assert fresh_cutter(lambda batch: [ids] * len(batch)).cut([word]) == {word: exact}


def test_pieces_that_fit_in_one_order_only_are_left_to_the_engine() -> None:
    asked = {"▁abab": [16, 11, 13], "▁aab": [16, 13], "▁": [15]}
    assert fresh_cutter(lambda batch: [asked[word] for word in batch]).cut(asked.keys()) == asked


def test_long_words_are_cut_in_double_precision_at_once() -> None:
    def engine(batch: list[str]) -> list[list[int]]:
        raise AssertionError(batch)

    word = "▁" + "ab" * 40
    assert fresh_cutter(engine).cut([word]) == {word: ExactCutter(PIECES, LOWEST, UNK).cut(word)}


def test_the_first_words_open_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def engine(batch: list[str]) -> list[list[int]]:
        asked.extend(batch)
        return [[16, 13]] * len(batch)

    monkeypatch.setattr(words, "_FEW", 3)
    exact = ExactCutter(PIECES, LOWEST, UNK)
    closed = FreshCutter(engine, lambda: exact, lambda ids: [SPELLING[n] for n in ids], UNK, lambda: False)
    assert closed.cut(["▁aab", "▁b"]) == {"▁aab": exact.cut("▁aab"), "▁b": exact.cut("▁b")}
    assert not asked
    assert closed.cut(["▁aab", "▁ab"]).keys() == {"▁aab", "▁ab"}
    assert asked == ["▁aab", "▁ab"]


def test_spellings_give_unknown_characters_back() -> None:
    assert spellings("▁☃☃b", ["▁", "<unk>", "b"], [False, True, False]) == ["▁", "☃☃", "b"]
    assert spellings("▁b", ["▁", "b"], [False, False]) == ["▁", "b"]
    assert spellings("☃", ["<0xE2>", "<0x98>"], [False, True]) == ["<0xE2>", "<0x98>"]
