"""Single layers of the native library against NumPy, on every level this machine has."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from pegasus.backends import native
from pegasus.backends.native import linears
from pegasus.backends.native.records import KINDS

if why := native.reason():
    pytest.skip(why, allow_module_level=True)

#: N, K: of one panel, below one, odd, and large enough for every loop over blocks to turn twice.
SHAPES = ((16, 64), (1, 1), (31, 33), (50, 130), (103, 96), (17, 4096), (600, 2100))
ROWS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 16, 17, 31, 33, 48, 64, 70)
FLOATS = KINDS[:3]


@pytest.fixture(params=linears.LEVELS)
def level(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kernels of one level."""
    before = linears.level()
    if linears.use_level(request.param) != request.param:
        linears.use_level(before)
        pytest.skip(f"this processor has no {request.param}")
    yield request.param
    linears.use_level(before)


@pytest.fixture(scope="module")
def runner() -> linears.Runner:
    return linears.Runner(2)


#: From how many rows on x is rounded to bfloat16 beside weights of bfloat16.
ROUNDED_FROM = {"avx512bf16": 1, "amx": 9}


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((seed, *shape)).standard_normal(shape, np.float32)


def rounded_bf16(values: np.ndarray) -> np.ndarray:
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return bits.astype(np.uint32).view(np.float32)


def exact(linear: linears.Linear, x_MK: np.ndarray) -> np.ndarray:
    weights_NK = linears.rows(linear, np.arange(linear.outputs)).astype(np.float64)
    return x_MK.astype(np.float64) @ weights_NK.T + (0 if linear.bias_N is None else linear.bias_N)


def close(found: np.ndarray, wanted: np.ndarray, inputs: int) -> None:
    """Within six standard deviations of a float32 sum of K products of normal numbers: 2.4e-8 K each."""
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1.5e-7 * max(inputs, 16))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", FLOATS)
def test_floats_equal_numpy(kind: str, shape: tuple[int, int], level: str, runner: linears.Runner) -> None:
    linear = linears.pack(kind, numbers(*shape), numbers(shape[0]))
    for rows in ROWS if shape[0] < 600 else (1, 13, 300):
        x = numbers(rows, shape[1], seed=1)
        rounds = kind == "bfloat16" and rows >= ROUNDED_FROM.get(level, 1 << 30)
        close(runner.run(linear, x), exact(linear, rounded_bf16(x) if rounds else x), shape[1])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_int8_is_exact_in_whole_numbers(shape: tuple[int, int], level: str, runner: linears.Runner) -> None:
    """Numbers that are whole and reach 127 have a scale of 1: nothing is rounded but the sum, once."""
    random = np.random.default_rng(3)
    weights = random.integers(-127, 128, shape)
    weights[:, 0] = 127
    linear = linears.pack("int8", weights)
    assert linear.scale_N is not None
    assert np.all(linear.scale_N == 1)
    for rows in ROWS if shape[0] < 600 else (1, 13, 300):
        x = random.integers(-127, 128, (rows, shape[1]))
        x[:, -1] = -127
        found = runner.run(linear, x.astype(np.float32))
        np.testing.assert_array_equal(found, (x @ weights.T).astype(np.float32))


@pytest.mark.parametrize(("x", "weight"), [(127, 127), (-127, 127), (127, -127), (-127, -127)])
def test_int8_does_not_saturate(x: int, weight: int, level: str, runner: linears.Runner) -> None:
    linear = linears.pack("int8", np.full((33, 4096), weight))
    for rows in (1, 5, 20):
        found = runner.run(linear, np.full((rows, 4096), x, np.float32))
        assert np.all(found == np.float32(x * weight * 4096))


def test_int8_of_ordinary_numbers(level: str, runner: linears.Runner) -> None:
    linear = linears.pack("int8", numbers(50, 130), numbers(50))
    x = numbers(21, 130, seed=1) * np.geomspace(1e-3, 1e3, 21, dtype=np.float32)[:, None]
    whole, scale = runner.quantize(x)
    seen = whole * scale[:, None].astype(np.float64)
    assert np.all(np.abs(seen - x) <= 0.5001 * scale[:, None])
    np.testing.assert_allclose(runner.run(linear, x), exact(linear, seen), rtol=1e-5, atol=1e-5)


def test_rows_are_quantized_to_the_nearest_even(level: str, runner: linears.Runner) -> None:
    x = np.zeros((3, 37), np.float32)
    x[0, :6] = [127, 0.5, 1.5, -2.5, 2.4999, -127]
    x[1, 36] = -1e-30
    whole, scale = runner.quantize(x)
    assert whole[0, :6].tolist() == [127, 0, 2, -2, 2, -127]
    assert whole[1, 36] == -127
    assert np.count_nonzero(whole[2]) == 0
    np.testing.assert_allclose(scale, [1, 1e-30 / 127, 1], rtol=1e-6)


def erf_gelu(v: np.ndarray) -> np.ndarray:
    return 0.5 * v * (1 + np.vectorize(math.erf)(v / math.sqrt(2)))


AFTER = {
    "none": lambda v: v,
    "relu": lambda v: np.maximum(v, 0),
    "gelu": erf_gelu,
    "gelu_new": lambda v: 0.5 * v * (1 + np.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))),
    "silu": lambda v: v / (1 + np.exp(-v)),
    "tanh": np.tanh,
}


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("kind", KINDS)
def test_what_follows_the_sum(kind: str, after: str, level: str, runner: linears.Runner) -> None:
    linear = linears.pack(kind, numbers(50, 70), numbers(50))
    for rows in (1, 9, 40):
        x, residual = numbers(rows, 70, seed=1) * 0.7, numbers(rows, 50, seed=2)
        plain = runner.run(linear, x).astype(np.float64)
        assert np.abs(plain).max() > 6
        wanted = AFTER[after](plain) + residual
        y = residual.copy()
        assert runner.run(linear, x, after=after, residual_MN=y, out_MN=y) is y
        np.testing.assert_allclose(y, wanted, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("after", ["gelu", "gelu_new", "silu", "tanh"])
def test_activations_far_out(after: str, level: str, runner: linears.Runner) -> None:
    """Where exponentials overflow and error functions end: a 1x1 layer is the activation itself."""
    linear = linears.pack("float32", np.ones((1, 1)))
    x = np.array([-1e30, -200, -90, -20, -5, -4, -1e-3, -1e-30, 0, 1e-30, 4, 5, 20, 90, 1e10], np.float32)
    with np.errstate(over="ignore"):
        wanted = AFTER[after](x.astype(np.float64))
    np.testing.assert_allclose(
        runner.run(linear, x[:, None], after=after)[:, 0], wanted, rtol=3e-6, atol=1e-6
    )


@pytest.mark.parametrize("kind", KINDS)
def test_rows_may_stand_apart_and_nothing_else_is_touched(
    kind: str, level: str, runner: linears.Runner
) -> None:
    linear = linears.pack(kind, numbers(35, 67), numbers(35))
    for rows in (1, 6, 29):
        wide = numbers(rows, 80, seed=1)
        field = np.full((rows + 2, 60), 7, np.float32)
        beside = numbers(rows, 41, seed=2)
        runner.run(linear, wide[:, :67], residual_MN=beside[:, 3:38], out_MN=field[1:-1, 5:40])
        wanted = runner.run(linear, wide[:, :67].copy()) + beside[:, 3:38]
        np.testing.assert_allclose(field[1:-1, 5:40], wanted, rtol=1e-6, atol=1e-6)
        field[1:-1, 5:40] = 7
        assert np.all(field == 7)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_change_no_bit(kind: str, level: str, runner: linears.Runner) -> None:
    linear = linears.pack(kind, numbers(250, 300), numbers(250))
    for rows in (1, 8, 45):
        x = numbers(rows, 300, seed=1)
        alone = linears.Runner(1).run(linear, x)
        for threads in (2, 3, 20):
            assert np.array_equal(linears.Runner(threads).run(linear, x), alone)


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_change_no_bit_of_a_row(kind: str, level: str, runner: linears.Runner) -> None:
    """A text's numbers do not depend on its neighbours; with tiles, while rows are few."""
    linear = linears.pack(kind, numbers(50, 300), numbers(50))
    few = {"bfloat16": 8, "float16": 16} if level == "amx" else {}
    x = numbers(few.get(kind, 70), 300, seed=1)
    together = runner.run(linear, x)
    for row in range(len(x)):
        assert np.array_equal(runner.run(linear, x[row : row + 1])[0], together[row])


def test_an_infinity_stays_in_its_row(level: str, runner: linears.Runner) -> None:
    for kind in FLOATS:
        linear = linears.pack(kind, np.abs(numbers(20, 33)) + 0.1)
        for rows in (3, 20):
            x = numbers(rows, 33, seed=1)
            x[1, 5] = np.inf
            found = runner.run(linear, x)
            if (
                kind == "float16" and level == "amx" and rows > 16
            ):  # the parts of an infinity are no numbers
                assert not np.any(np.isfinite(found[1]))
            else:
                assert np.all(found[1] == np.inf)
            assert np.all(np.isfinite(np.delete(found, 1, axis=0)))


def test_halves_are_multiplied_as_exactly_as_floats(level: str, runner: linears.Runner) -> None:
    """Whatever the sizes of the numbers; tiles multiply them in parts."""
    dice = np.random.default_rng(3)
    for outputs, inputs, rows in ((50, 300, 70), (7, 33, 17), (130, 1024, 40), (16, 31, 300)):
        weights = (numbers(outputs, inputs) * dice.uniform(-14, 14, (outputs, inputs))).astype(np.float16)
        x = (numbers(rows, inputs, seed=1) * np.exp2(dice.integers(-20, 20, (rows, inputs)))).astype(
            np.float32
        )
        found = runner.run(linears.pack("float16", weights.astype(np.float32)), x)
        exact = x.astype(np.float64) @ weights.astype(np.float64).T
        sizes = np.abs(x.astype(np.float64)) @ np.abs(weights.astype(np.float64)).T
        assert np.max(np.abs(found - exact) / sizes) < 4e-7


def test_the_level_can_be_named_by_a_variable() -> None:
    ask = "from pegasus.backends.native import linears; print(linears.level())"
    for name in linears.LEVELS:
        done = subprocess.run(
            [sys.executable, "-c", ask],
            env={**os.environ, "PEGASUS_CPU": name},
            capture_output=True,
            text=True,
            check=True,
        )
        upto = linears.LEVELS[: linears.LEVELS.index(name) + 1]
        assert done.stdout.split() == [[one for one in upto if one in linears.levels()][-1]]


def test_a_variable_that_names_no_level_is_told() -> None:
    ask = "from pegasus.backends.native import linears; linears.level()"
    env = {**os.environ, "PEGASUS_CPU": "sse"}
    done = subprocess.run([sys.executable, "-c", ask], env=env, capture_output=True, text=True)
    assert done.returncode
    assert "PEGASUS_CPU='sse' is no set" in done.stderr
    assert "avx512" in done.stderr


def test_threads_work_on_in_a_forked_process() -> None:
    code = """
import os, numpy as np
from pegasus.backends.native import linears
runner, linear = linears.Runner(3), linears.pack("float32", np.ones((64, 8)))
x = np.ones((5, 8), np.float32)
assert np.all(runner.run(linear, x) == 8)
child = os.fork()
if child == 0:
    os._exit(0 if np.all(runner.run(linear, x) == 8) else 1)
assert os.waitpid(child, 0)[1] == 0
assert np.all(runner.run(linear, x) == 8)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)


def test_other_arrays_are_refused(runner: linears.Runner) -> None:
    linear = linears.pack("float32", numbers(5, 6))
    for wrong in (np.ones((2, 6)), np.ones(6, np.float32), np.ones((6, 2), np.float32).T):
        with pytest.raises(ValueError, match="dense rows"):
            runner.run(linear, wrong)
