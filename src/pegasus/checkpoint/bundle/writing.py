"""Writing a TensorFlow checkpoint: the numbers of all variables in one file, and the index of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pegasus.checkpoint.bundle.checksum import Crc32c, crc32c, masked
from pegasus.checkpoint.bundle.entry import Entry, Header, number_of
from pegasus.checkpoint.bundle.table import write_table
from pegasus.checkpoint.raw import RawTensor
from pegasus.checkpoint.writing import Staging

_PIECE = 1 << 24  # bytes that are summed and written at a time


def add_bundle(staging: Staging, name: str, tensors: Mapping[str, RawTensor]) -> None:
    """Adds the files of a checkpoint, and ``checkpoint``, by which a folder says which one is its newest.

    Args:
        staging: of the folder.
        name: what stands before ``.index``.
        tensors: by the names of variables; their memory is given back as they are written.

    Raises:
        BackendMissing: the package that makes checksums is not installed.
    """
    crc = crc32c()
    entries: dict[str, Entry] = {}
    staging.add_parts(f"{name}.data-00000-of-00001", _numbers(tensors, entries, crc))
    rows = {variable: entry.serialized() for variable, entry in entries.items()}
    staging.add_bytes(f"{name}.index", write_table({"": Header().serialized(), **rows}, crc))
    staging.add_text(
        "checkpoint", f'model_checkpoint_path: "{name}"\nall_model_checkpoint_paths: "{name}"\n'
    )


def _numbers(
    tensors: Mapping[str, RawTensor], entries: dict[str, Entry], crc: Crc32c
) -> Iterator[memoryview]:
    """The bytes of all variables in the order of their names; what is said of each goes to ``entries``."""
    offset = 0
    for variable, tensor in sorted(tensors.items()):
        data, found = tensor.data, 0
        for start in range(0, data.nbytes, _PIECE):
            piece = data[start : start + _PIECE]
            found = crc(found, piece)
            yield piece.data
        entries[variable] = Entry(
            number_of(tensor.dtype), tensor.shape, 0, offset, data.nbytes, masked(found)
        )
        offset += data.nbytes
        del data
        tensor.release()
