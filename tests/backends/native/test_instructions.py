"""No instruction of a set is reached before the processor was asked for it: the library, taken apart.

What runs on a processor without a set is seen in ``test_emulated.py``; here it is seen of all sets, those
that no emulator has among them.
"""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pegasus.backends import native


def _beside(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


disassembly = _beside("disassembly")


@pytest.fixture(scope="module")
def library() -> disassembly.Disassembly:
    if why := native.reason():
        pytest.skip(why)
    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("levels are of x86-64")
    if shutil.which("objdump") is None:
        pytest.skip("no objdump here (binutils)")
    taken = disassembly.Disassembly(native.LIBRARY)
    if not any(function.file.endswith(".cpp") for function in taken.functions):
        pytest.skip("the library has no table of symbols")
    return taken


def above(function: disassembly.Function) -> bool:
    """Whether it has instructions that its level has not."""
    order = disassembly.ORDER
    return order.index(function.needs) > order.index(function.level)


@pytest.mark.parametrize(
    ("instruction", "wanted"),
    [
        ("movaps %xmm0,%xmm1", "portable"),
        ("verr %ax", "portable"),
        ("xgetbv", "portable"),
        ("andnps %xmm4,%xmm2", "portable"),
        ("tzcnt %eax,%eax", "portable"),
        ("pshufb %xmm0,%xmm1", "sse3"),
        ("popcnt %rax,%rbx", "sse3"),
        ("shlx %eax,%ebx,%ecx", "bmi"),
        ("vmovss (%rax),%xmm0", "avx2"),
        ("vfmadd231ps %ymm1,%ymm2,%ymm3", "avx2"),
        ("{vex} vpdpbusd %ymm1,%ymm2,%ymm3", "avxvnni"),
        ("vpdpbusd %ymm1,%ymm2,%ymm3", "avx512"),
        ("vmovups %ymm17,(%rax)", "avx512"),
        ("vaddps (%rax){1to16},%zmm0,%zmm1", "avx512"),
        ("kmovw %eax,%k1", "avx512"),
        ("vdpbf16ps %zmm0,%zmm1,%zmm2", "avx512bf16"),
        ("vcvtneps2bf16 %zmm0,%ymm1", "avx512bf16"),
        ("tileloadd (%rax,%rbx,1),%tmm4", "amx"),
        ("tilerelease", "amx"),
    ],
)
def test_instructions_are_told_apart(instruction: str, wanted: str) -> None:
    mnemonic, _, operands = instruction.partition(" ")
    assert disassembly.set_of(mnemonic, operands) == wanted


def test_a_function_has_the_instructions_of_its_level_at_most(library: disassembly.Disassembly) -> None:
    wrong = [f"{one.file} {one.name}: {one.example}" for one in library.functions if above(one)]
    assert not wrong, "\n".join(wrong)
    seen = {function.level for function in library.functions if function.needs == function.level}
    assert seen >= {"portable", "avx2", "avxvnni", "avx512", "avx512bf16", "amx"}


def test_code_of_a_level_is_not_called_by_name(library: disassembly.Disassembly) -> None:
    """It stands in tables; who takes an address from elsewhere asks for the level."""
    [asks] = [one.address for one in library.functions if re.search(r"\bcpu_level|_Z9cpu_level", one.name)]
    for function in library.functions:
        if function.level != "portable":
            continue
        for address in function.calls:
            assert library.at(address).level == "portable", (function.name, library.at(address).name)
        taken = [library.at(address) for address in function.takes if address in library.starts]
        if any(other.level != "portable" for other in taken):
            assert asks in function.calls, function.name


def test_nothing_of_a_level_runs_when_the_library_is_opened(library: disassembly.Disassembly) -> None:
    started = constructors(native.LIBRARY)
    assert started
    for address in started:
        function = library.at(address)
        assert function.level == "portable", function.name
        assert function.needs == "portable", (function.name, function.example)


def constructors(path: Path) -> list[int]:
    """The functions that a library runs when it is opened: what the linker writes into .init_array."""
    headers = subprocess.run(
        ["readelf", "-SW", str(path)], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"\.init_array\s+\S+\s+([0-9a-f]+)\s+\S+\s+([0-9a-f]+)", headers)
    assert found is not None
    begin, end = int(found[1], 16), int(found[1], 16) + int(found[2], 16)
    moved = subprocess.run(["readelf", "-rW", str(path)], capture_output=True, text=True, check=True).stdout
    places = re.findall(r"^([0-9a-f]+)\s+\S+\s+R_X86_64_RELATIVE\s+([0-9a-f]+)", moved, re.MULTILINE)
    return [int(target, 16) for place, target in places if begin <= int(place, 16) < end]
