"""The build of the native library: in place, not again, and not at all where it cannot be."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from pegasus.backends import native
from pegasus.errors import BackendMissing

ROOT = Path(__file__).resolve().parents[3]
SOURCE = 'extern "C" __attribute__((visibility("default"))) int answer() { return 42; }\n'


@pytest.fixture
def hatch_build() -> ModuleType:
    path = ROOT / "hatch_build.py"
    if not path.exists():
        pytest.skip("the tests run without the checkout")
    spec = importlib.util.spec_from_file_location("hatch_build", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path, hatch_build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one source, and the usual settings."""
    for name in ("PEGASUS_NO_NATIVE", "CXX", "CXXFLAGS"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / hatch_build.FOLDER / "csrc"
    folder.mkdir(parents=True)
    (folder / "answer.cpp").write_text(SOURCE)
    (tmp_path / "hatch_build.py").write_text("")
    return tmp_path


def needs_compiler() -> None:
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        pytest.skip("no C++ compiler here")


def test_builds_once(tree: Path, hatch_build: ModuleType) -> None:
    needs_compiler()
    library = hatch_build.build(tree)
    assert library == tree / hatch_build.FOLDER / "_native.so"
    assert ctypes.CDLL(str(library)).answer() == 42
    made = library.stat().st_mtime_ns
    later = library.stat().st_mtime + 5
    source = library.parent / "csrc" / "answer.cpp"
    os.utime(source, (later, later))
    hatch_build.build(tree)
    assert library.stat().st_mtime_ns == made
    source.write_text(SOURCE.replace("42", "43"))
    os.utime(source, (1, 1))  # older than the library, as an older state of a checkout is
    hatch_build.build(tree)
    assert library.stat().st_mtime_ns != made
    assert [path.name for path in library.parent.iterdir() if path.name.startswith("_native")] == [
        "_native.so"
    ]


def test_other_sources_or_flags_are_another_library(
    tree: Path, hatch_build: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_compiler()
    csrc = tree / hatch_build.FOLDER / "csrc"
    library, words = hatch_build.build(tree), hatch_build.compiler()
    held = hatch_build.stamp_in(library)
    assert held == hatch_build.stamp_of(words, csrc)
    opened = ctypes.CDLL(str(library))
    opened.pg_sources.restype = ctypes.c_char_p
    assert opened.pg_sources().decode() == held
    (csrc / "deep").mkdir()
    (csrc / "deep" / "more.h").write_text("// a header in a folder\n")
    assert hatch_build.stamp_of(words, csrc) != held
    (csrc / "deep" / "more.h").rename(csrc / "deep" / "less.h")
    renamed = hatch_build.stamp_of(words, csrc)
    (csrc / "deep" / "less.h").unlink()
    assert hatch_build.stamp_of(words, csrc) == held != renamed
    monkeypatch.setenv("CXXFLAGS", "-O1")
    assert hatch_build.stamp_of(words, csrc) != held


def test_a_stale_library_is_refused(
    tree: Path, hatch_build: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was built from other sources than those beside it is handed what it does not expect."""
    needs_compiler()
    monkeypatch.delenv("PEGASUS_CPU", raising=False)
    library = hatch_build.build(tree)
    monkeypatch.setattr(native, "LIBRARY", library)
    (library.parent / "csrc" / "answer.cpp").write_text(SOURCE.replace("42", "43"))
    with pytest.raises(BackendMissing, match=r"other sources .*python hatch_build\.py"):
        native._load.__wrapped__()


def test_a_library_without_a_digest_is_refused(
    tree: Path, hatch_build: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_compiler()
    library = tree / hatch_build.FOLDER / "_native.so"
    source = library.parent / "csrc" / "answer.cpp"
    hatch_build.call([*hatch_build.compiler(), "-shared", "-fPIC", str(source), "-o", str(library)])
    assert hatch_build.stamp_in(library) is None
    monkeypatch.setattr(native, "LIBRARY", library)
    with pytest.raises(BackendMissing, match="the library's is none"):
        native._load.__wrapped__()


def test_a_source_for_another_architecture_is_left_out(
    tree: Path, hatch_build: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hatch_build.flags_of(tree / "linear_amx.cpp", "aarch64") is None
    assert "-mavx2" not in hatch_build.flags_of(tree / "linear_portable.cpp", "aarch64")
    assert "-march=armv8.2-a+dotprod" in hatch_build.flags_of(tree / "linear_dotprod.cpp", "arm64")
    assert "-march=armv8.2-a+dotprod+i8mm" in hatch_build.flags_of(tree / "linear_i8mm.cpp", "arm64")
    for level in ("dotprod", "i8mm"):
        assert hatch_build.flags_of(tree / f"linear_{level}.cpp", "x86_64") is None

    def flags(name: str) -> list[str]:
        return hatch_build.flags_of(tree / name, "x86_64")

    assert "-mamx-int8" in flags("linear_amx.cpp")
    assert "-mavx512bf16" in flags("linear_avx512bf16.cpp")
    assert "-mavx512bf16" not in flags("linear_avx512.cpp")
    assert "-mavx512f" not in flags("linear_avx2.cpp")
    assert "-mavxvnni" in flags("linear_avxvnni.cpp")
    assert "-mavxvnni" not in flags("linear_avx2.cpp")
    monkeypatch.setattr(hatch_build.platform, "machine", lambda: "AMD64")
    assert hatch_build.machine_of(["no-such-compiler"]) == "amd64"


def test_files_of_any_processor_are_linked_first(hatch_build: ModuleType) -> None:
    """Of a function that several files have linkers keep the first."""
    names = ("a_amx", "b_avx512bf16", "c_avx512", "d_avx2", "e_portable", "f")
    ordered = hatch_build.by_level([Path(f"{name}.cpp") for name in names])
    assert [path.stem for path in ordered] == [*names[4:], *reversed(names[:4])]


def test_says_why_there_is_no_library(
    tree: Path, hatch_build: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reason() -> str:
        with pytest.raises(hatch_build.NotBuilt) as caught:
            hatch_build.build(tree)
        return str(caught.value)

    monkeypatch.setenv("PEGASUS_NO_NATIVE", "1")
    assert reason() == "PEGASUS_NO_NATIVE is set"
    monkeypatch.setenv("PEGASUS_NO_NATIVE", "0")
    monkeypatch.setenv("CXX", "no-such-compiler -O9")
    assert reason().startswith("no-such-compiler could not be run")
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(tree))
    assert reason() == "no C++ compiler (c++, g++, clang++) was found"


def test_a_compiler_that_fails_is_quoted(tree: Path, hatch_build: ModuleType) -> None:
    needs_compiler()
    (tree / hatch_build.FOLDER / "csrc" / "wrong.cpp").write_text("int x = nonsense;\n")
    with pytest.raises(hatch_build.NotBuilt, match="nonsense"):
        hatch_build.build(tree)
    assert not (tree / hatch_build.FOLDER / "_native.so").exists()
