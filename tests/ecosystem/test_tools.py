"""Tools of the ecosystem work on our classes: the checks of ``scripts/ecosystem``, with few steps.

They run with the versions that the ``dev`` extra brings; the script runs them with others.
"""

from __future__ import annotations

import importlib.util
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "ecosystem"
loader = SourceFileLoader("ecosystem", str(SCRIPT))
spec = importlib.util.spec_from_loader("ecosystem", loader)
assert spec is not None
ecosystem = importlib.util.module_from_spec(spec)
loader.exec_module(ecosystem)

QUICK = ("peft_decoders", "torch_fx", "torch_export")


@pytest.mark.filterwarnings("default")  # what other packages warn of is theirs
@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, marks=() if check.__name__ in QUICK else pytest.mark.slow, id=check.__name__)
        for check in ecosystem.CHECKS
    ],
)
def test_works(check, tmp_path):
    answer = check(tmp_path, 12)
    if answer.startswith("skipped"):
        pytest.skip(answer)
    assert answer
