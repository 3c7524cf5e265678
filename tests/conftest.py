"""Where tests find things that lie outside the project."""

from __future__ import annotations

import logging
import os
import signal
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]
#: Real text and the real vocabulary, beside the checkout where they exist.
SHARED = ROOT.parent / "shared"

# Triton looks at this when it is imported: without a GPU its kernels are interpreted. Nothing else uses it.
os.environ.setdefault("TRITON_INTERPRET", "1")
# Loaded after TensorFlow, Triton 3.7 ends the process with a segmentation fault; before it, both work.
# PyTorch's optimizers load the one, TensorBoard's curves the other.
if find_spec("triton") is not None:
    import_module("triton")

# A machine may be busy: no example fails because it took long.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


#: Tests that compile whole programs for a minute or hold up everything else: for ``scripts/test --slow``.
_COMPILING = (
    "conformance/test_engine.py::test_micro_batches_change_nothing[jax]",
    "conformance/test_session.py::test_a_long_random_talk[jax]",
    "conformance/test_session.py::test_a_long_random_talk[tensorflow]",
    *(f"conformance/test_session.py::test_the_words_of_transformers[jax-{part}]" for part in (0, 1, 2, 4)),
    "jax/test_compiled_search.py::test_the_words_of_the_shared_search[greedy, rules]",
    "jax/test_compiled_search.py::test_the_words_of_the_shared_search[beams, runs]",
    "jax/test_engine.py::test_a_teacher",
    "jax/test_engine.py::test_lora",
    "jax/test_engine.py::test_precisions_and_gradient_checkpointing",
    "jax/test_engine.py::test_two_devices_equal_one",
    "jax/test_heads.py::test_pmap_shard_map_and_tensor_parallelism",
    "tensorflow/test_engine.py::test_precisions_and_computing_again",
    "tensorflow/test_engine.py::test_two_devices_equal_one",
    "tensorflow/test_keras.py::test_a_loss_and_metrics_of_the_caller",
    "tensorflow/test_keras.py::test_a_pipeline_of_our_loader",
    "tensorflow/test_keras.py::test_mixed_precision",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark those as slow."""
    for item in items:
        if any(name in item.nodeid for name in _COMPILING):
            item.add_marker(pytest.mark.slow)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """End with what was skipped on this machine, and why."""
    reasons = Counter(
        str(report.longrepr[2]).removeprefix("Skipped: ")
        if isinstance(report.longrepr, tuple)
        else "no reason"
        for report in terminalreporter.stats.get("skipped", [])
    )
    if reasons:
        terminalreporter.section("skipped on this machine")
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count:5}  {reason}")


@pytest.fixture(autouse=True)
def levels_of_logging() -> Iterator[None]:
    """A command that ran inside a test sets the levels for its process: the next test gets the old ones."""
    loggers = [logging.getLogger(name) for name in (None, "pegasus", "py.warnings")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data; the test is skipped where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("no real data beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def vocabulary_96k(shared: Path) -> Path:
    """The folder that holds the real 96,103-token PEGASUS vocabulary."""
    return shared / "vocab" / "pegasus-96k"


@pytest.fixture
def endless() -> Iterator[None]:
    """Ends what would go on and on, after two minutes of this process's own work.

    For work on a megabyte that is done in a second where it grows with the text, and in an hour where it
    grows with its square. How fast it is, `scripts/bench hostile-text` measures.
    """

    def end(*_: Any) -> None:
        raise AssertionError("it goes on and on: the work grows faster than the text")

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, 120)
    yield
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)
