"""A backend of another package is one folder and one entry point: the double, chosen by its name."""

from __future__ import annotations

import os
import subprocess
import sys

from pegasus import Summarizer
from pegasus.backends import backend_names, load_backend

TEXT = "The council met on Monday. It voted to build a bridge. The bridge will cost nine million."


def test_it_is_in_the_table(double):
    assert backend_names() == ["packed", "torch", "jax", "onnx", "tensorflow", "double"]
    assert load_backend("double") is double


def test_the_summarizer_says_what_it_says_on_the_others():
    settings = {"num_beams": 2, "length": 12, "explain": True}
    found, expected = (
        Summarizer.from_pretrained("pegasus-mini", backend=name, device="cpu", threads=1)(TEXT, **settings)
        for name in ("double", "torch")
    )
    assert found.text == expected.text
    assert [one.sentence for one in found.explanation] == [one.sentence for one in expected.explanation]


def test_the_command_chooses_it(double):
    """In a process of its own, where no framework is loaded."""
    code = (
        "import sys\nfrom pegasus.cli import app\n"
        "code = app.main(['summarize', '--backend', 'double', '--num-beams', '1', '--length', '12'])\n"
        "assert 'pegasus_double.model' in sys.modules and 'torch' not in sys.modules\nsys.exit(code)"
    )
    path = os.pathsep.join(entry for entry in sys.path if entry)
    run = subprocess.run(
        [sys.executable, "-c", code],
        input=TEXT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()
