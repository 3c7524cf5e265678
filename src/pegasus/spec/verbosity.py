"""How much the package says, under the names of ``transformers.logging``, with which scripts begin."""

from __future__ import annotations

import logging as _logging
from logging import CRITICAL, DEBUG, ERROR, FATAL, INFO, NOTSET, WARN, WARNING

__all__ = [
    "CRITICAL", "DEBUG", "ERROR", "FATAL", "INFO", "NOTSET", "WARN", "WARNING",
    "disable_default_handler", "disable_progress_bar", "disable_propagation", "enable_default_handler",
    "enable_explicit_format", "enable_progress_bar", "enable_propagation", "get_logger", "get_verbosity",
    "is_progress_bar_enabled", "reset_format", "set_verbosity", "set_verbosity_debug",
    "set_verbosity_error", "set_verbosity_info", "set_verbosity_warning",
]  # fmt: skip
_NAME = "pegasus"
_FORMAT = "%(levelname)s:%(name)s:%(message)s"
_USUAL = _logging.Formatter("%(message)s")


def get_logger(name: str | None = None) -> _logging.Logger:
    """The logger of that name; the package's own without one."""
    return _logging.getLogger(name or _NAME)


def get_verbosity() -> int:
    """From which level on messages are said."""
    return get_logger().getEffectiveLevel()


def set_verbosity(verbosity: int) -> None:
    """Say messages of this level and above."""
    get_logger().setLevel(verbosity)


def set_verbosity_debug() -> None:
    """Say everything."""
    set_verbosity(DEBUG)


def set_verbosity_info() -> None:
    """Say what happens too."""
    set_verbosity(INFO)


def set_verbosity_warning() -> None:
    """Say warnings and errors."""
    set_verbosity(WARNING)


def set_verbosity_error() -> None:
    """Say errors only."""
    set_verbosity(ERROR)


def enable_default_handler() -> None:
    """Write messages to standard error."""
    if not get_logger().handlers:
        handler = _logging.StreamHandler()
        handler.setFormatter(_USUAL)
        get_logger().addHandler(handler)


def disable_default_handler() -> None:
    """Write them nowhere of one's own accord; handlers above still get them."""
    get_logger().handlers.clear()


def enable_propagation() -> None:
    """Hand messages on to the handlers of the root logger."""
    get_logger().propagate = True


def disable_propagation() -> None:
    """Keep them to the package's own handlers."""
    get_logger().propagate = False


def enable_explicit_format() -> None:
    """Write level and logger before each message."""
    for handler in get_logger().handlers:
        handler.setFormatter(_logging.Formatter(_FORMAT))


def reset_format() -> None:
    """Write messages alone."""
    for handler in get_logger().handlers:
        handler.setFormatter(_USUAL)


def enable_progress_bar() -> None:
    """Without effect: loading and generating draw no bars."""


def disable_progress_bar() -> None:
    """Without effect: loading and generating draw no bars."""


def is_progress_bar_enabled() -> bool:
    """False: loading and generating draw no bars."""
    return False
