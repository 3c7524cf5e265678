"""`python -m pegasus` and the `pegasus` command."""

from __future__ import annotations

import sys

from pegasus.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
