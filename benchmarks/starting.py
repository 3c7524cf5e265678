"""How long does it take to begin? Seconds of the processor for an import and for the command's help.

    python benchmarks/starting.py [--rounds 5]

The least of several fresh interpreters, less what Python itself takes: what others do on the machine only
makes it longer.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

_TIMED = """
import sys, time
before = time.process_time()
{work}
print("CPU", time.process_time() - before)
"""
_WORK = {
    "import pegasus": "import pegasus",
    "pegasus --help": "from pegasus.__main__ import main\nsys.argv = ['pegasus', '--help']\n"
    "try:\n    main()\nexcept SystemExit:\n    pass",
    "import torch": "import torch",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for name, work in _WORK.items():
        print(f"{name:16} {min(seconds_of(work) for _ in range(rounds)):.3f} s")


def seconds_of(work: str) -> float:
    """Seconds of one fresh interpreter."""
    words = [sys.executable, "-c", _TIMED.format(work=work)]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return float(said.split()[-1])


if __name__ == "__main__":
    main()
