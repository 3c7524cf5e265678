"""What the command says to people on stderr, and to programs by its exit code; data goes to stdout."""

from __future__ import annotations

import contextlib
import re
import sys

OK = 0
FAILED = 1
#: Wrong options or settings; also argparse's own.
USAGE = 2
#: Some inputs failed, the rest is done.
PARTLY = 3
#: Ctrl-C.
STOPPED = 130
#: Whoever read stdout went away.
UNREAD = 141

#: What moves a terminal's cursor, colours or turns its text around; line breaks and tabs are not among it.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_NOT_IN_JSON = re.compile(rf"{_CONTROL.pattern}|[\ud800-\udfff]")


def say(message: str) -> None:
    """Print a line for people on stderr; where nobody can hear it, it is dropped."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:  # print would take stdout instead
            print(f"pegasus: {visible(message)}", file=sys.stderr, flush=True)


def visible_json(text: str) -> str:
    """Return JSON with such characters, and halves of characters, as its own escapes: the same values."""
    return _NOT_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def visible(text: str) -> str:
    """Return a text of unknown origin as a terminal may be shown it: control characters as escapes."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)
