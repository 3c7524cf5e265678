"""The word for a kind of tensor, and what becomes of it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pegasus.errors import BackendMissing, BadSetting
from pegasus.spec import tensors
from pegasus.spec.tensors import tensor_maker, to_tensor


def test_numpy() -> None:
    found = to_tensor([[1, 2], [3, 4]], "np")
    assert found.dtype == np.int64
    assert found.shape == (2, 2)
    assert to_tensor([[]], "np").dtype == np.int64
    assert to_tensor([[0.5]], "np").dtype == np.float64


def test_torch_owns_its_memory() -> None:
    torch = pytest.importorskip("torch")
    array = np.array([1, 2])
    found = to_tensor(array, "pt")
    array[0] = 9
    assert found.tolist() == [1, 2]
    assert found.dtype == torch.int64


def test_enumerations_hold_the_same_words() -> None:
    class Word:
        value = "np"

    assert to_tensor([1], Word()).tolist() == [1]


@pytest.mark.parametrize("value", [[[1], [1, 2]], [None], ["a", None]])
def test_what_is_no_rectangle_of_numbers_is_refused(value) -> None:
    with pytest.raises(BadSetting, match="'labels' has rows of different lengths"):
        to_tensor(value, "np", "labels")


def test_an_unknown_word_is_refused() -> None:
    with pytest.raises(BadSetting, match="'pt', 'tf', 'jax' or 'np'"):
        tensor_maker("mx")


def test_a_missing_framework_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tensors.ROOMS, "pt", ("pegasus.backends.nowhere", "pip install torch"))
    with pytest.raises(BackendMissing, match="pip install torch"):
        to_tensor([1], "pt")


def test_asking_for_arrays_loads_no_framework() -> None:
    code = "import sys, pegasus.spec.tensors as t; t.to_tensor([1], 'np'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
