"""What the command says to people on stderr, and to programs by its exit code; data goes to stdout."""

from __future__ import annotations

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


def say(message: str) -> None:
    """Print a line for people on stderr."""
    print(f"pegasus: {message}", file=sys.stderr, flush=True)
