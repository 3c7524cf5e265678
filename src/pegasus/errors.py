"""What can go wrong, as one tree.

::

    PegasusError
    ├── CheckpointNotFound   (OSError)      no such folder, bundled name or hub repository
    ├── CheckpointCorrupt    (OSError)      a file is cut short, altered, unreadable or holds code
    ├── CheckpointMismatch   (ValueError, RuntimeError)  parameters in files are not those the model needs
    ├── BackendMissing       (ImportError)  a framework or an extra is not installed
    ├── NotOffered           (NotImplementedError)  this session, backend or file kind cannot do that
    ├── UnsupportedArgument  (ValueError, TypeError)  an argument of elsewhere that is refused here by name
    ├── BadSetting           (ValueError)   a setting or a combination of settings makes no sense
    │   └── UnknownToken     (IndexError)   an id that the model's table has no row for
    ├── OriginUnknown        (ValueError, KeyError)  an encoding does not know where its tokens came from
    ├── TextTooLong          (ValueError)   more tokens than the model takes, and cutting was not allowed
    ├── BadData              (ValueError)   a row or a file of input cannot be used; knows file and line
    ├── Overloaded           (RuntimeError) too much is waiting, or nothing is taken any more
    ├── DeadlineExceeded     (TimeoutError) time was up before the result was there
    ├── EngineLost           (RuntimeError) a process that computed died, and so did the next one
    └── WriteFailed          (OSError)      a result cannot be written: a full disk, a closed stream

Those that users of transformers catch also inherit the builtin in brackets. A message has three parts:
what is wrong, what was found, what to do.
"""

from __future__ import annotations

from pathlib import Path


class PegasusError(Exception):
    """The root of the tree: catch this to catch everything this package raises on purpose."""


class CheckpointNotFound(PegasusError, OSError):
    """No such folder, bundled name or hub repository, or a file that must be in it is not."""


class CheckpointCorrupt(PegasusError, OSError):
    """A checkpoint file is cut short, altered, unreadable, or holds code instead of numbers."""


class CheckpointMismatch(PegasusError, ValueError, RuntimeError):
    """The parameters in the files are not those that the configuration asks for."""


class BackendMissing(PegasusError, ImportError):
    """A framework or an optional extra is not installed; the message says what to install."""


class NotOffered(PegasusError, NotImplementedError):
    """This session, backend or file kind cannot do what was asked."""


class UnsupportedArgument(PegasusError, ValueError, TypeError):
    """An argument that exists elsewhere and is refused here by name instead of being ignored."""


class BadSetting(PegasusError, ValueError):
    """A setting, or a combination of settings, that makes no sense."""


class UnknownToken(BadSetting, IndexError):
    """An id of a token that the model's table has no row for."""


class OriginUnknown(PegasusError, ValueError, KeyError):
    """An encoding is asked for the place of its tokens in a text, and was not made from a text here."""

    __str__ = Exception.__str__  # a key error would put the sentence into quotation marks


class TextTooLong(PegasusError, ValueError):
    """A text has more tokens than the model takes, and cutting it was not allowed."""


class BadData(PegasusError, ValueError):
    """A row or a file of input that cannot be used.

    Attributes:
        file: where it was found, or None when the input is no file.
        line: the 1-based line in that file, or None when the whole file is meant.
    """

    def __init__(self, message: str, file: str | Path | None = None, line: int | None = None) -> None:
        place = "" if file is None else f"{file}: " if line is None else f"{file}:{line}: "
        super().__init__(place + message)
        self.file = file
        self.line = line


class Overloaded(PegasusError, RuntimeError):
    """Too much is waiting already, or nothing is taken any more; it makes sense to come back later.

    Attributes:
        retry_after: in how many seconds.
        leaving: whether it is because the one asked is about to end, and not because of what waits.
    """

    def __init__(self, message: str, retry_after: int = 1, leaving: bool = False) -> None:
        super().__init__(message)
        self.retry_after, self.leaving = retry_after, leaving


class DeadlineExceeded(PegasusError, TimeoutError):
    """Time was up before the result was there; what was under way for it has been given up."""


class EngineLost(PegasusError, RuntimeError):
    """A process of a server that computed has died, and a second try was no better, or not possible."""


class WriteFailed(PegasusError, OSError):
    """A result cannot be written where it shall go; the message says where, why, and what is kept."""
