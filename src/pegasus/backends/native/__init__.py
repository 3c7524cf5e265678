"""The native library: whole encoder passes, decoder steps and learning steps in C++, for a CPU.

The library is built when the package is installed, where a C++ compiler is (``hatch_build.py``), and found
beside this file. It speaks plain C and is called through ctypes with pointers of NumPy arrays; it knows no
backend. Without it the plain modules of PyTorch compute; ``reason()`` then says why it is not there.

``records`` holds what goes in (weights and their shapes), ``inference`` what is done with them, ``linears``
single matrices, ``learning`` a step of learning and ``batches`` how its texts are dealt out.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pegasus.backends.native.sources import sources_digest
from pegasus.errors import BackendMissing, BadSetting, NotOffered

logger = logging.getLogger(__name__)

#: Environment variable: 1 leaves the library alone although it is there.
NO_NATIVE = "PEGASUS_NO_NATIVE"
#: Where the library lies when it was built.
LIBRARY = Path(__file__).with_name("_native.so")
#: What a processor can do, from least to most; PEGASUS_CPU names the most that is used.
LEVELS = ("portable", "dotprod", "i8mm", "avx2", "avxvnni", "avx512", "avx512bf16", "amx")


@functools.cache
def _load() -> ctypes.CDLL | str:
    """The library, or why there is none.

    Raises:
        BadSetting: PEGASUS_CPU names no level.
        BackendMissing: it was built from other sources than those beside it.
    """
    wanted = os.environ.get("PEGASUS_CPU", "")
    if wanted and wanted not in LEVELS:
        raise BadSetting(
            f"PEGASUS_CPU={wanted!r} is no set of instructions known here: use one of {', '.join(LEVELS)}, "
            "or leave it unset for the best of this machine."
        )
    if not LIBRARY.exists():
        return (
            f"the native engine was not built: there is no {LIBRARY.name} in {LIBRARY.parent}. Install a "
            "C++ compiler (g++ or clang++) and install pegasus-summarizer again from its sources"
        )
    try:
        loaded = ctypes.CDLL(str(LIBRARY))
    except OSError as error:
        return (
            f"the native engine could not be loaded: {error}. Install pegasus-summarizer again "
            "from its sources"
        )
    _refuse_stale(loaded)
    if wanted and not loaded.pg_cpu_has(LEVELS.index(wanted)):
        used = LEVELS[loaded.pg_cpu_level()]
        logger.warning("PEGASUS_CPU=%s: this processor has not got that; %s is used", wanted, used)
    return loaded


def _refuse_stale(loaded: ctypes.CDLL) -> None:
    """Raises ``BackendMissing`` for a library that was not built from the sources beside it.

    What is handed to it would lie elsewhere than it reads.
    """
    csrc = LIBRARY.parent / "csrc"
    if not csrc.is_dir():  # an installed package has no sources
        return
    held = ""
    if hasattr(loaded, "pg_sources"):
        loaded.pg_sources.restype = ctypes.c_char_p
        held = loaded.pg_sources().decode("ascii").partition(" ")[0]
    wanted = sources_digest(csrc)
    if held != wanted:
        raise BackendMissing(
            f"{LIBRARY} was built from other sources than those beside it (their digest is {wanted[:12]}, "
            f"the library's is {held[:12] or 'none'}): build it again with `python hatch_build.py`."
        )


def reason() -> str | None:
    """Why the native engine does not compute here, in a sentence; None when it does."""
    if os.environ.get(NO_NATIVE, "") not in ("", "0"):
        return f"{NO_NATIVE} is set"
    loaded = _load()
    return loaded if isinstance(loaded, str) else None


def library() -> ctypes.CDLL:
    """The library.

    Raises:
        NotOffered: it was not built or does not load; the message says what to do.
    """
    why, loaded = reason(), _load()
    if why is not None or isinstance(loaded, str):
        raise NotOffered(
            f"Packed weights need the native engine, and {why}. Or open the checkpoint they are from: "
            "the plain modules compute it."
        )
    return loaded


#: What the C side answers, but for 0: see ``csrc/model/codes.h``.
_WRONG = {
    -1: (MemoryError, "the native engine found no memory"),
    -2: (BadSetting, "the native engine was asked something that does not fit what it holds"),
    -3: (BadSetting, "the native engine was asked for more positions than its table has: set a longer one"),
    -4: (BadSetting, "a token lies outside the vocabulary"),
    -5: (
        BadSetting,
        "the system starts no more threads for the native engine: ask for fewer, "
        "or raise the limits of the process (ulimit -u, ulimit -v)",
    ),
}


def check(code: int) -> None:
    """Raise what a code of the C side means; 0 means that all is well.

    Raises:
        MemoryError: no memory.
        BadSetting: whatever else it may be.
    """
    if code != 0:
        kind, message = _WRONG[code]
        raise kind(message)


def declared(functions: Mapping[str, tuple[Any, tuple[Any, ...]]]) -> ctypes.CDLL:
    """The library, these functions declared.

    Args:
        functions: the name of each → what it returns and what it takes, as ctypes spells them.

    Raises:
        NotOffered: see `library`.
    """
    native = library()
    if getattr(native, next(iter(functions))).argtypes is None:
        for name, (result, arguments) in functions.items():
            function = getattr(native, name)
            function.restype, function.argtypes = result, arguments
    return native
