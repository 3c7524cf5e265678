"""The pickle of a state dict, read one instruction at a time and never run.

Python's own unpickler calls whatever a pickle names. Here a name is looked up in a short table of inert
marks, calls are carried out by this module, and dictionaries have text for keys, so that a hostile file
can make neither a call nor an object of its own.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pegasus.errors import CheckpointCorrupt


@dataclass(frozen=True)
class Storage:
    """A run of numbers somewhere in the file: its type ("" when the tensor says it) and its key."""

    dtype: str
    key: str


@dataclass(frozen=True)
class Tensor:
    """A view of a storage, counted in elements; ``dtype`` is "" when the storage says it."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str = ""


@dataclass(frozen=True)
class _Mark:
    """What an allowed name stands for: a role in this module, never the object of that name."""

    role: str
    dtype: str = ""


_TYPES = {
    "float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
_STORAGES = {
    "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16", "DoubleStorage": "F64",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8",
    "ByteStorage": "U8", "BoolStorage": "BOOL",
}  # fmt: skip
_ALLOWED: dict[tuple[str, str], _Mark] = {
    ("collections", "OrderedDict"): _Mark("dictionary"),
    ("torch._utils", "_rebuild_tensor"): _Mark("tensor"),
    ("torch._utils", "_rebuild_tensor_v2"): _Mark("tensor"),
    ("torch._utils", "_rebuild_tensor_v3"): _Mark("typed tensor"),
    ("torch._utils", "_rebuild_parameter"): _Mark("parameter"),
    ("torch", "Size"): _Mark("size"),
    ("torch.storage", "UntypedStorage"): _Mark("storage"),
    **{("torch", name): _Mark("storage", dtype) for name, dtype in _STORAGES.items()},
    **{("torch", name): _Mark("dtype", dtype) for name, dtype in _TYPES.items()},
}


def read_pickle(file: IO[bytes], path: Path, used: dict[str, Storage] | None = None) -> Any:
    """The value of the pickle at the file's position, which is left after it.

    Args:
        file: open for reading bytes.
        path: for messages.
        used: filled with every storage that was named, by key.

    Raises:
        CheckpointCorrupt: it holds a name or an instruction that no state dict needs.
    """
    reader = _Reader(path, {} if used is None else used)
    for instruction, argument, _ in pickletools.genops(file):
        if instruction.name == "STOP":
            break
        reader.obey(instruction.name, argument)
    return reader.stack.pop()


_MARKER = object()


class _Reader:
    """The stack and the memo of a pickle, and the few instructions that are followed."""

    def __init__(self, path: Path, used: dict[str, Storage]) -> None:
        self.path = path
        self.used = used
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def obey(self, name: str, argument: Any) -> None:
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _LITERALS:
            self.stack.append(argument)
        elif name in _MOVES:
            _MOVES[name](self, argument)
        else:
            raise self.refusal(f"the instruction {name}")

    def refusal(self, what: str) -> CheckpointCorrupt:
        return CheckpointCorrupt(
            f"{self.path} holds code: it asks for {what}, which no state dict needs. Nothing was run; "
            "do not use this file, take a safetensors one."
        )

    def name(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        mark = _ALLOWED.get((module, name))
        if mark is None:
            raise self.refusal(f"`{module}.{name}`")
        self.stack.append(mark)

    def name_from_stack(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.name(f"{module} {name}")

    def since_mark(self) -> list[Any]:
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is _MARKER:
                items = self.stack[place + 1 :]
                del self.stack[place:]
                return items
        raise IndexError("a mark is missing")

    def gather(self, count: int) -> None:
        items = self.stack[-count:]
        if len(items) < count:
            raise IndexError("the stack is empty")
        del self.stack[-count:]
        self.stack.append(tuple(items))

    def put(self, pairs: list[Any]) -> None:
        into = self.stack[-1]
        if not isinstance(into, dict) or len(pairs) % 2:
            raise self.refusal(f"changing a {type(into).__name__}")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(key, str):
                raise self.refusal(f"a dictionary with a key of type {type(key).__name__}")
            into[key] = value

    def extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise self.refusal(f"appending to a {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(items)

    def storage(self, _: Any) -> None:
        reference = self.stack.pop()
        kind, mark, key = reference[:3]
        if (
            kind != "storage"
            or not isinstance(mark, _Mark)
            or mark.role != "storage"
            or not isinstance(key, str)
        ):
            raise self.refusal(f"the reference {str(reference)[:80]}")
        if len(reference) > 5 and reference[5] is not None:  # a window into another storage: PyTorch 0.3
            raise self.refusal("a window into another storage")
        self.stack.append(self.used.setdefault(key, Storage(mark.dtype, key)))

    def call(self, _: Any) -> None:
        arguments, mark = self.stack.pop(), self.stack.pop()
        if not isinstance(mark, _Mark) or not isinstance(arguments, tuple):
            raise self.refusal(f"calling a {type(mark).__name__}")
        self.stack.append(self.carry_out(mark, arguments))

    def carry_out(self, mark: _Mark, arguments: tuple[Any, ...]) -> Any:
        match mark.role:
            case "dictionary" if not arguments:
                return {}
            case "dictionary":  # the form of Python 2: a list of pairs
                return {str(key): value for key, value in arguments[0]}
            case "size":
                return tuple(arguments[0])
            case "parameter" if isinstance(arguments[0], Tensor):
                return arguments[0]
            case "tensor" if isinstance(arguments[0], Storage):
                return Tensor(arguments[0], arguments[1], tuple(arguments[2]), tuple(arguments[3]))
            case "typed tensor" if isinstance(arguments[0], Storage):
                return Tensor(
                    arguments[0], arguments[1], tuple(arguments[2]), tuple(arguments[3]), arguments[6].dtype
                )
        raise self.refusal(f"a {mark.role} made of {str(arguments)[:80]}")

    def build(self, _: Any) -> None:
        """Attributes: a state dict has one, ``_metadata``, which says nothing about numbers."""
        self.stack.pop()
        if not isinstance(self.stack[-1], dict):
            raise self.refusal(f"setting attributes of a {type(self.stack[-1]).__name__}")

    def keep(self, place: Any) -> None:
        self.memo[len(self.memo) if place is None else place] = self.stack[-1]


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "NONE": lambda: None,
    "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "MARK": lambda: _MARKER,
}  # fmt: skip
_LITERALS = {
    "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT",
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINSTRING", "SHORT_BINSTRING", "STRING",
}  # fmt: skip
_MOVES: dict[str, Callable[[_Reader, Any], Any]] = {
    "PROTO": lambda reader, _: None,
    "FRAME": lambda reader, _: None,
    "GLOBAL": _Reader.name,
    "STACK_GLOBAL": _Reader.name_from_stack,
    "TUPLE": lambda reader, _: reader.stack.append(tuple(reader.since_mark())),
    "LIST": lambda reader, _: reader.stack.append(reader.since_mark()),
    "TUPLE1": lambda reader, _: reader.gather(1),
    "TUPLE2": lambda reader, _: reader.gather(2),
    "TUPLE3": lambda reader, _: reader.gather(3),
    "SETITEMS": lambda reader, _: reader.put(reader.since_mark()),
    "SETITEM": lambda reader, _: reader.put([*reversed([reader.stack.pop(), reader.stack.pop()])]),
    "APPENDS": lambda reader, _: reader.extend(reader.since_mark()),
    "APPEND": lambda reader, _: reader.extend([reader.stack.pop()]),
    "BINPERSID": _Reader.storage,
    "REDUCE": _Reader.call,
    "BUILD": _Reader.build,
    "BINPUT": _Reader.keep,
    "LONG_BINPUT": _Reader.keep,
    "PUT": _Reader.keep,
    "MEMOIZE": _Reader.keep,
    "BINGET": lambda reader, place: reader.stack.append(reader.memo[place]),
    "LONG_BINGET": lambda reader, place: reader.stack.append(reader.memo[place]),
    "GET": lambda reader, place: reader.stack.append(reader.memo[place]),
    "POP": lambda reader, _: reader.stack.pop(),
    "DUP": lambda reader, _: reader.stack.append(reader.stack[-1]),
}
