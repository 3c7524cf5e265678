"""Errors that cross from one process to another, and what a log may say of them."""

from __future__ import annotations

import pickle
import traceback

from pegasus.errors import PegasusError


class Unexpected(Exception):
    """An error that nobody planned, of another process; what it said may hold words of a document.

    Attributes:
        kind: the name of its class.
        place: where it was raised.
    """

    def __init__(self, kind: str, place: str) -> None:
        super().__init__(kind, place)
        self.kind, self.place = kind, place

    def __str__(self) -> str:
        return f"{self.kind} at {self.place}"


def portable(error: Exception) -> Exception:
    """Return what another process is told of an error: our own as they are, others by kind and place."""
    if isinstance(error, PegasusError) and _survives(error):
        return error
    return Unexpected(type(error).__name__, place_of(error))


def portable_opening(error: Exception) -> Exception:
    """The same of a model that cannot be opened: no document has been read, and all is told."""
    told = error if _survives(error) else RuntimeError(f"{type(error).__name__}: {error}")
    told.add_note("In the engine process:\n" + "".join(traceback.format_tb(error.__traceback__)))
    return told


def kind_of(error: Exception) -> str:
    """Return the name of an error's class, also of one that came from another process."""
    return error.kind if isinstance(error, Unexpected) else type(error).__name__


def place_of(error: Exception) -> str:
    """Return where an error was raised; what it says may hold words of a document."""
    if isinstance(error, Unexpected):
        return error.place
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "nowhere"
    return f"{trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}"


def _survives(error: Exception) -> bool:
    """Whether it is itself again when it has been sent."""
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)
    except Exception:  # classes of others may fail in any way
        return False
