"""A library taken apart: its functions, whose file each is, and what instructions it has."""

from __future__ import annotations

import re
import subprocess
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

#: Levels from least to most; "sse3" and "bmi" are what lies between x86-64 itself and AVX2, and no level's.
ORDER = ("portable", "sse3", "bmi", "avx2", "avxvnni", "avx512", "avx512bf16", "amx")
_LEVEL = re.compile(r"(avx512bf16|avx512|avxvnni|avx2|amx)(?![a-z0-9])")
_INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\s+(\S+)\s*(.*)$")
_TARGET = re.compile(r"([0-9a-f]+) <")

# What marks an instruction of each set, in the order they are looked for.
_TILES = re.compile(r"^(tile|tdp|ldtilecfg|sttilecfg)")
_BF16 = re.compile(r"^v(dpbf16ps|cvtneo?e?2?ps2?bf16|cvtne2ps2bf16|cvtneps2bf16)")
#: AVX-VNNI is written {vex}, as AVX-512 VNNI has the same mnemonics.
_VEX = re.compile(r"^\{vex\} vpdp(busds?|wssds?) ")
_WIDE = re.compile(r"%zmm|%k[0-7]|%[xy]mm(1[6-9]|2\d|3[01])|\{1to\d+\}|^vpdpbusd|^vpdpwssd")
_VECTOR = re.compile(
    r"^v(?!err$|erw$|m)|^vm(?!call|launch|resume|xoff|read|write|ptr|clear|xon|func|run|load|save)"
)
_BMI = re.compile(
    r"^(andn[lq]?$|bextr|bls[ir]|blsmsk|bzhi|mulx|pdep|pext|rorx|sarx|shlx|shrx|lzcnt|movbe|adcx|adox)"
)
_SSE = re.compile(
    r"^(lddqu|haddp|hsubp|addsubp|mov[ds]dup|movshdup|movsldup|pshufb|phadd|phsub|pmaddubsw|psign|pabs|palignr"
    r"|pmulhrsw|p?blend|dpp[sd]|extractps|insertps|pextr[bdq]|pinsr[bdq]|pm(?:ax|in)(?:s[bd]|u[wd])|pmov[sz]x"
    r"|pmuldq|pmulld|ptest|round[sp][sd]|packusdw|pcmpeqq|pcmpgtq|pcmp[ei]str|mpsadbw|phminposuw|movntdqa|crc32"
    r"|popcnt)"
)


def set_of(mnemonic: str, operands: str) -> str:
    """The least of ``ORDER`` that has this instruction (AT&T syntax)."""
    whole = f"{mnemonic} {operands}"
    if _TILES.search(mnemonic) or "%tmm" in operands:
        return "amx"
    if _BF16.search(mnemonic):
        return "avx512bf16"
    if _VEX.search(whole):
        return "avxvnni"
    if _WIDE.search(whole):
        return "avx512"
    if "%ymm" in operands or _VECTOR.search(mnemonic):
        return "avx2"
    if _BMI.search(mnemonic):
        return "bmi"
    return "sse3" if _SSE.search(mnemonic) else "portable"


def level_of(name: str) -> str:
    """The level that a file's or a function's name promises."""
    found = _LEVEL.search(name)
    return found[1] if found else "portable"


@dataclass
class Function:
    """A function: where it lies, which file it is from ("" where the linker does not say), what it does."""

    address: int
    name: str
    file: str
    needs: str = "portable"
    example: str = ""
    #: Addresses it calls or jumps to, and those it takes.
    calls: set[int] = field(default_factory=set)
    takes: set[int] = field(default_factory=set)

    @property
    def level(self) -> str:
        """For which level it was compiled."""
        return level_of(Path(self.file).stem) if self.file else level_of(self.name)


class Disassembly:
    """The functions of a linked library or an object file.

    Args:
        path: a file with its table of symbols.
    """

    def __init__(self, path: Path) -> None:
        self.functions = sorted(_symbols(path), key=lambda function: function.address)
        self._addresses = [function.address for function in self.functions]
        self.starts = frozenset(self._addresses)
        for address, mnemonic, operands in _instructions(path):
            if (function := self.at(address)) is not None:
                _note(function, mnemonic, operands)

    def at(self, address: int) -> Function | None:
        """The function that an address lies in."""
        place = bisect_right(self._addresses, address) - 1
        return self.functions[place] if place >= 0 else None


def _symbols(path: Path) -> Iterator[Function]:
    """Symbols stand behind the file they are local to; what was global in its file comes last."""
    file = ""
    for line in _run("objdump", "-t", str(path)):
        words = line.split()
        if " df *ABS*" in line:
            file = words[-1] if words[-1] not in ("*ABS*", "0000000000000000") else ""
        elif " F .text" in line or " F .init" in line or " F .fini" in line:
            yield Function(int(words[0], 16), words[-1], file)


def _instructions(path: Path) -> Iterator[tuple[int, str, str]]:
    for line in _run("objdump", "-d", "--no-show-raw-insn", str(path)):
        if found := _INSTRUCTION.match(line):
            yield int(found[1], 16), found[2], found[3]


def _note(function: Function, mnemonic: str, operands: str) -> None:
    needed = set_of(mnemonic, operands)
    if ORDER.index(needed) > ORDER.index(function.needs):
        function.needs, function.example = needed, f"{mnemonic} {operands}"
    if found := _TARGET.search(operands):
        places = function.calls if mnemonic.startswith(("call", "j")) else function.takes
        places.add(int(found[1], 16))


def _run(*words: str) -> list[str]:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
