"""The command with rows that are poison: a process of a bulk job, for tests.

KILLER in a text kills the process, FAULT raises an error that nobody has foreseen, SLOW takes $SLOW
seconds. Claims are stale after the seconds that $STALE names.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from pegasus.cli.app import main
from pegasus.cli.bulk.claims import Claims
from pegasus.summarizer import Summarizer


def poisoned(self, texts, **settings):
    texts = list(texts)
    if any("KILLER" in text for text in texts):
        os.kill(os.getpid(), signal.SIGKILL)
    if any("FAULT" in text for text in texts):
        raise RuntimeError("out of everything")
    time.sleep(float(os.environ.get("SLOW", "0.2")) * sum("SLOW" in text for text in texts))
    return attempt(self, texts, **settings)


attempt, Summarizer.attempt = Summarizer.attempt, poisoned
if "STALE" in os.environ:
    Claims.__init__.__kwdefaults__.update(beat=0.1, stale=float(os.environ["STALE"]))

if __name__ == "__main__":
    sys.exit(main())
