"""Errors that cross to another process: ours as they are, others without what they say."""

from __future__ import annotations

import pickle

import pytest

from pegasus import errors
from pegasus.serving.failures import Unexpected, kind_of, place_of, portable, portable_opening
from pegasus.serving.problems import problem_of

TREE = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]


def sent(error):
    return pickle.loads(pickle.dumps(portable(error)))


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_errors_of_the_tree_stay_what_they_are(kind):
    there = sent(kind("What is wrong, what was found, what to do."))
    assert type(there) is kind
    assert str(there) == "What is wrong, what was found, what to do."


def test_so_does_what_they_know():
    there = sent(errors.Overloaded("Come back.", 7, leaving=True))
    assert (there.retry_after, there.leaving, str(there)) == (7, True, "Come back.")
    there = sent(errors.BadData("is empty", "in.jsonl", 3))
    assert (there.file, there.line, str(there)) == ("in.jsonl", 3, "in.jsonl:3: is empty")


class Odd(errors.PegasusError):
    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


def raised(error):
    try:
        raise error
    except Exception as caught:
        return caught


@pytest.mark.parametrize("error", [KeyError("secretword"), Odd("secretword", 1)])
def test_others_say_their_kind_and_place_alone(error, caplog):
    error = raised(error)
    there = sent(error)
    assert isinstance(there, Unexpected)
    assert kind_of(there) == kind_of(error) == type(error).__name__
    assert place_of(there) == place_of(error)
    assert place_of(there).startswith(__name__.rpartition(".")[2]) or "test_failures" in place_of(there)
    assert "secretword" not in repr(vars(there)) + str(there)
    assert problem_of(there).body == problem_of(KeyError("secretword")).body
    assert f"unexpected {type(error).__name__} at {place_of(error)}" in caplog.text


def test_of_a_model_that_cannot_be_opened_everything_is_told():
    there = pickle.loads(pickle.dumps(portable_opening(raised(OSError(28, "No space left", "/models")))))
    assert (type(there), str(there)) == (OSError, "[Errno 28] No space left: '/models'")
    assert "in raised" in there.__notes__[0]
    there = pickle.loads(pickle.dumps(portable_opening(raised(Odd("no", 1)))))
    assert str(there) == "Odd: no 1"
