"""Builds the native library: as a hook of `pip install`, or by hand in place (`python hatch_build.py`).

The library is plain C++20 behind a C interface, loaded through ctypes, so one file serves every Python of a
platform. Where there is no compiler, or PEGASUS_NO_NATIVE=1, the package is installed without it and works
through torch alone. A source file named after instructions (`*_avx2.cpp`, `*_avxvnni.cpp`,
`*_avx512.cpp`, `*_avx512bf16.cpp`, `*_amx.cpp`; of ARM `*_dotprod.cpp`, `*_i8mm.cpp`) is compiled for them and entered
only on processors that have them; elsewhere such files are left out.

A library holds the digest of the sources it was made from and of how it was made; it is built anew when
these differ, whatever the times of files say.

CXX names the compiler (else c++, g++ or clang++, whichever is there; one for another architecture makes a
wheel for that), CXXFLAGS and LDFLAGS add flags.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

FOLDER = Path("src/pegasus/backends/native")
LIBRARY = "_native.so"
#: What stands before the two digests in a library; `pg_sources` returns what follows.
MARK = b"pegasus native library, sources and making: "
FLAGS = (
    "-std=c++20",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-pthread",
    "-Wall",
    "-Wextra",
    "-Wno-psabi",
    "-Wno-uninitialized",
    "-Wno-maybe-uninitialized",
    "-Wno-unknown-warning-option",  # clang has not got the one before
)
AVX2 = ("-mavx2", "-mfma", "-mf16c")
AVX512 = (
    *AVX2,
    "-mavx512f",
    "-mavx512bw",
    "-mavx512dq",
    "-mavx512vl",
    "-mavx512vnni",
    "-mprefer-vector-width=512",
)
AVX512BF16 = (*AVX512, "-mavx512bf16")
INSTRUCTIONS = {
    "dotprod": ("-march=armv8.2-a+dotprod",),
    "i8mm": ("-march=armv8.2-a+dotprod+i8mm",),
    "avx2": AVX2,
    "avxvnni": (*AVX2, "-mavxvnni"),
    "avx512": AVX512,
    "avx512bf16": AVX512BF16,
    "amx": (*AVX512BF16, "-mamx-tile", "-mamx-int8", "-mamx-bf16"),
}
#: Those of ARM's; the others are of x86-64.
ARM = ("dotprod", "i8mm")


class NotBuilt(Exception):
    """Why there is no library."""


def compiler() -> list[str]:
    """The C++ compiler to call, as words.

    Raises:
        NotBuilt: there is none, or none is wanted.
    """
    if os.environ.get("PEGASUS_NO_NATIVE", "") not in ("", "0"):
        raise NotBuilt("PEGASUS_NO_NATIVE is set")
    if os.environ.get("CXX"):
        return shlex.split(os.environ["CXX"])
    for name in ("c++", "g++", "clang++"):
        if found := shutil.which(name):
            return [found]
    raise NotBuilt("no C++ compiler (c++, g++, clang++) was found")


def machine_of(words: list[str]) -> str:
    """The architecture that a compiler makes code for, which need not be this machine's."""
    try:
        done = subprocess.run([*words, "-dumpmachine"], capture_output=True, text=True)
    except OSError:
        return platform.machine().lower()
    return done.stdout.partition("-")[0].strip().lower() or platform.machine().lower()


def flags_of(source: Path, machine: str) -> list[str] | None:
    """The compiler's flags for one file; None where the file is for another architecture."""
    level = level_of(source)
    if level and machine not in (("aarch64", "arm64") if level in ARM else ("x86_64", "amd64")):
        return None
    return [*FLAGS, *INSTRUCTIONS.get(level, ()), *shlex.split(os.environ.get("CXXFLAGS", ""))]


def by_level(sources: list[Path]) -> list[Path]:
    """Files of any processor first, then those of each level from least to most.

    Of a function that several files have, as an inline one may be, linkers keep the copy of the first.
    """
    levels = [*INSTRUCTIONS]
    return sorted(sources, key=lambda source: 1 + levels.index(word) if (word := level_of(source)) else 0)


def sources_digest(csrc: Path) -> str:
    """The digest of the sources, as the package itself computes it when it opens a library."""
    path = Path(__file__).resolve().parent / FOLDER / "sources.py"
    spec = importlib.util.spec_from_file_location("_native_sources", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.sources_digest(csrc))


def stamp_of(words: list[str], csrc: Path) -> str:
    """What a library made now would hold: the digest of its sources, and of the compiler and its flags."""
    how = [*words, machine_of(words), *(os.environ.get(name, "") for name in ("CXXFLAGS", "LDFLAGS"))]
    making = hashlib.sha256(repr((how, FLAGS, INSTRUCTIONS)).encode()).hexdigest()
    return f"{sources_digest(csrc)} {making}"


def stamp_in(library: Path) -> str | None:
    """What a library holds, read without opening it: it may be one for another processor."""
    _, mark, rest = library.read_bytes().partition(MARK)
    return rest.partition(b"\0")[0].decode("ascii", "replace") if mark else None


def write_stamp(stamp: str, folder: Path) -> Path:
    """The source file that puts a stamp into the library."""
    path = folder / "stamp.cpp"
    path.write_text(
        f'static const char kStamp[] = "{MARK.decode()}{stamp}";\n'
        f'extern "C" __attribute__((visibility("default"))) const char* pg_sources() {{\n'
        f"    return kStamp + {len(MARK)};\n"
        "}\n"
    )
    return path


def level_of(source: Path) -> str:
    """The level in a file's name, or ""."""
    word = source.stem.rpartition("_")[2]
    return word if word in INSTRUCTIONS else ""


def call(words: list[str]) -> None:
    """Runs a compiler.

    Raises:
        NotBuilt: it failed; the message holds what it wrote.
    """
    try:
        done = subprocess.run(words, capture_output=True, text=True)
    except OSError as error:
        raise NotBuilt(f"{words[0]} could not be run: {error}") from error
    if done.returncode:
        raise NotBuilt(f"{shlex.join(words)} failed:\n{done.stderr}")
    if done.stderr:
        sys.stderr.write(done.stderr)


def compile_all(words: list[str], sources: list[Path], folder: Path, csrc: Path) -> list[str]:
    """Compiles those of the files that are for the compiler's architecture.

    Args:
        words: the compiler.
        sources: the files.
        folder: where the object files go.
        csrc: what headers are included relative to.

    Returns:
        The object files, in the order of their sources.

    Raises:
        NotBuilt: one does not compile; the message quotes the compiler.
    """
    machine = machine_of(words)
    jobs = [(source, flags) for source in sources if (flags := flags_of(source, machine)) is not None]
    objects = [str(folder / f"{source.stem}.o") for source, _ in jobs]
    calls = [
        [*words, *flags, f"-I{csrc}", "-c", str(source), "-o", made]
        for (source, flags), made in zip(jobs, objects, strict=True)
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(call, calls))
    return objects


def build(root: Path) -> Path:
    """Compiles the library in place, unless the one that is there was made from the same sources, alike.

    Returns:
        The path of the library.

    Raises:
        NotBuilt: with the reason.
    """
    target, csrc = root / FOLDER / LIBRARY, root / FOLDER / "csrc"
    sources = sorted(csrc.rglob("*.cpp"))
    words = compiler()
    stamp = stamp_of(words, csrc)
    if target.exists() and stamp_in(target) == stamp:
        return target
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch)
        objects = compile_all(words, by_level([*sources, write_stamp(stamp, made)]), made, csrc)
        # Replaced whole: another process may have it open.
        fresh = target.with_name(f"{LIBRARY}.{os.getpid()}")
        ending = shlex.split(os.environ.get("LDFLAGS", ""))
        call([*words, "-shared", "-pthread", *objects, *ending, "-o", str(fresh)])
        fresh.replace(target)
    return target


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # by hand, in an environment without hatchling
    BuildHookInterface = object  # type: ignore[assignment, misc]


class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Puts the library into the wheel, which then is for one platform; without it the wheel is for all."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Builds the library before the wheel is put together."""
        if self.target_name != "wheel":
            return
        try:
            library = build(Path(self.root))
        except NotBuilt as reason:
            self.app.display_warning(f"pegasus is built without its native library: {reason}")
            return
        tag = os.environ.get("PEGASUS_WHEEL_PLATFORM") or sysconfig.get_platform()
        tag = tag.replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{tag}"
        build_data["artifacts"].append(str(library.relative_to(self.root)))


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{build(Path(__file__).resolve().parent)}\n")
    except NotBuilt as reason:
        sys.exit(f"hatch_build.py: {reason}")
