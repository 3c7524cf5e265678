"""What stands before a word: whether it opens a sentence, and whether a number is right there."""

from __future__ import annotations

#: What a stop abbreviates, and no sentence ends with.
TITLES = frozenset(
    {
        *("Mr", "Mrs", "Ms", "Mx", "Dr", "Prof", "St", "Sen", "Rep", "Gov", "Gen", "Col", "Lt", "Capt"),
        *("Sgt", "Rev", "Hon", "Pres", "Mme", "Mlle", "Hr", "Hrn", "Fr"),
    }
)
SENTENCE_ENDS = ".!?…:\n"
_OPENING = " \"'“”‘’«([{-–—•*#>\t"
#: After a number: what another number may not follow at once, for both together would be a third.
_IN_NUMBERS = ".,:'’٫٬_"
_BETWEEN_NUMBERS = " -–—/⁄\u00a0\u202f"

#: What stands before the word at hand: no number; one, and a blank or hyphen; one, and a point or comma.
NONE, BESIDE, TOUCHING = 0, 1, 2


def opens_after(opens: bool, character: str) -> bool:
    """Whether the next word opens a sentence, after one more character."""
    if character in SENTENCE_ENDS:
        return True
    return opens and character in _OPENING


def before_after(before: int, character: str, *, new: bool = False) -> int:
    """What stands before the next word, after one more character.

    Args:
        before: what stood there; of no matter where a number has just ended (``new``).
        character: no letter.
        new: whether a number ends right before the character.
    """
    if not new and before != BESIDE:
        return NONE
    if character in _BETWEEN_NUMBERS:
        return BESIDE
    return TOUCHING if character in _IN_NUMBERS else NONE
