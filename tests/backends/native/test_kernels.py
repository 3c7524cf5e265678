"""The library through its C interface alone, by a program without Python: as built, emulated, recompiled.

``kernels_check.cpp`` compares what every level makes of small cases with plain sums in double precision.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from pegasus.backends import native

ROOT = Path(__file__).resolve().parents[3]
CHECK = Path(__file__).with_name("kernels_check.cpp")
SOURCES = native.LIBRARY.parent / "csrc"


@pytest.fixture(scope="module")
def hatch_build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def program(name: str, package: str) -> str:
    """The path of a program; the test is skipped where it is not installed."""
    if (found := shutil.which(name)) is None:
        pytest.skip(f"no {name} here (Debian: apt-get install {package})")
    return found


def compiled(folder: Path, *words: str) -> Path:
    """The checking program, made by a compiler out of itself and what else is named."""
    made = folder / "kernels_check"
    options = ("-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", f"-I{SOURCES}")
    compiler, *others = words
    done = subprocess.run(
        [compiler, *options, str(CHECK), *others, "-o", str(made)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return made


def levels(*words: str) -> list[str]:
    """The levels that the program found and checked."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split()


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checking program over the library as it was built."""
    if why := native.reason():
        pytest.skip(why)
    library = native.LIBRARY
    folder = tmp_path_factory.mktemp("check")
    return compiled(folder, program("c++", "g++"), str(library), f"-Wl,-rpath,{library.parent}")


def test_every_level_of_this_machine(check: Path) -> None:
    from pegasus.backends.native import linears

    assert levels(str(check)) == [*linears.levels()]


@pytest.mark.parametrize(
    ("processor", "found"),
    [
        ("Nehalem", ["portable"]),
        ("SandyBridge", ["portable"]),
        ("Haswell", ["portable", "avx2"]),
        ("EPYC-Milan", ["portable", "avx2"]),
    ],
)
def test_emulated_processors(check: Path, processor: str, found: list[str]) -> None:
    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("the processors are x86-64's")
    assert levels(program("qemu-x86_64", "qemu-user"), "-cpu", processor, str(check)) == found


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_both_compilers_without_a_warning(compiler: str, hatch_build: ModuleType, tmp_path: Path) -> None:
    words = [program(compiler, compiler.replace("++", "").replace("g", "g++")), "-Werror"]
    objects = hatch_build.compile_all(
        words, hatch_build.by_level([*SOURCES.rglob("*.cpp")]), tmp_path, SOURCES
    )
    found = levels(str(compiled(tmp_path, words[0], *objects)))
    assert found == levels(
        str(compiled(tmp_path, words[0], str(native.LIBRARY), f"-Wl,-rpath,{native.LIBRARY.parent}"))
    )


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize("optimized", ["-O3", "-O0"])
def test_files_of_a_level_share_no_function(
    compiler: str, optimized: str, hatch_build: ModuleType, tmp_path: Path
) -> None:
    """Not even without optimization, where every inline function is one by itself.

    clang's ``__clang_call_terminate`` only ends the process, and files of any processor are linked first.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("levels are of x86-64")
    words = [program(compiler, compiler.replace("++", "").replace("g", "g++"))]
    special = [source for source in SOURCES.rglob("*.cpp") if hatch_build.level_of(source)]
    os.environ["CXXFLAGS"] = optimized
    try:
        objects = hatch_build.compile_all(words, special, tmp_path, SOURCES)
    finally:
        del os.environ["CXXFLAGS"]
    assert len(objects) > 5
    for made in objects:
        said = subprocess.run(["nm", "-C", made], capture_output=True, text=True, check=True).stdout
        assert not re.findall(
            r"^[0-9a-f]+ [WVu] (?!DW\.ref|__clang_call_terminate)(.*)$", said, re.MULTILINE
        ), made
        sections = subprocess.run(
            ["objdump", "-h", made], capture_output=True, text=True, check=True
        ).stdout
        assert ".init_array" not in sections, made


@pytest.mark.slow
def test_arm(hatch_build: ModuleType, tmp_path: Path) -> None:
    words = [program("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu"), "-Werror"]
    emulator = program("qemu-aarch64", "qemu-user")
    objects = hatch_build.compile_all(
        words, hatch_build.by_level([*SOURCES.rglob("*.cpp")]), tmp_path, SOURCES
    )
    check = compiled(tmp_path, words[0], *objects, "-static")
    assert levels(emulator, "-cpu", "max", str(check)) == ["portable", "dotprod", "i8mm"]
    # dot products, and no matrix products yet
    assert levels(emulator, "-cpu", "neoverse-n1", str(check)) == ["portable", "dotprod"]
    # one from before ARMv8.2
    assert levels(emulator, "-cpu", "cortex-a53", str(check)) == ["portable"]
