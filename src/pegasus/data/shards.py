"""A prepared corpus on disk: documents as ids, sentence borders and scores, in files that are read in
place.

::

    folder/
    ├── manifest.json            what was done, how much came of it, each file's size and sha256
    ├── tokenizer/               the tokenizer it was done with
    ├── 00000.safetensors        ids [tokens], sentence_ends [N], document_ends [documents],
    ├── 00001.safetensors        and scores [N] where the strategy wants them
    └── ...

A sentence's end counts tokens from the start of its file, a document's end counts sentences. Every file is
written aside, pushed to the disk and renamed; the manifest comes last. What has no manifest is not
finished.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from pegasus.checkpoint.files import read_safetensors
from pegasus.checkpoint.raw import RawTensor
from pegasus.checkpoint.writing import Staging
from pegasus.data.records import Ids
from pegasus.data.scores import Scores
from pegasus.errors import BadData, CheckpointCorrupt

MANIFEST = "manifest.json"
TOKENIZER = "tokenizer"
VERSION = 1


@dataclass(frozen=True)
class ShardRecord:
    """One file of a prepared corpus.

    Attributes:
        file: its name.
        sha256: of its content.
        size: bytes of the file.
        documents: how many it holds.
        sentences: of all its documents.
        tokens: of all its documents.
        text_bytes: what those were as UTF-8 text.
        longest: tokens of the longest document.
        one_sentence: documents of a single sentence, whose example is one mask and the whole text.
        made_from: a fingerprint of its texts and of every setting; equal ones need not be made again.
    """

    file: str
    sha256: str
    size: int
    documents: int
    sentences: int
    tokens: int
    text_bytes: int
    longest: int
    one_sentence: int
    made_from: str


@dataclass(frozen=True)
class Manifest:
    """What a prepared corpus says about itself.

    Attributes:
        settings: how it was prepared.
        statistics: how much was read, left out and kept.
        shards: its files in order.
        version: of this layout.
    """

    settings: Mapping[str, Any]
    statistics: Mapping[str, float]
    shards: Sequence[ShardRecord]
    version: int = VERSION

    def to_json(self) -> str:
        """Write it as text."""
        return json.dumps(asdict(self), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, folder: str | Path) -> Manifest:
        """Read it from a folder.

        Raises:
            BadData: there is none, or it is not one of ours.
        """
        path = Path(folder) / MANIFEST
        if not path.is_file():
            raise BadData("The folder holds no finished corpus. Run `pegasus prepare` to its end.", path)
        try:
            content = json.loads(path.read_text("utf-8"))
            shards = [ShardRecord(**shard) for shard in content.pop("shards")]
            manifest = cls(shards=shards, **content)
        except (ValueError, TypeError, KeyError) as error:
            raise BadData(
                f"The manifest cannot be read ({error}). Prepare the corpus again.", path
            ) from error
        if manifest.version != VERSION:
            raise BadData(
                f"The layout is version {manifest.version}, not {VERSION}. Prepare it again.", path
            )
        return manifest


class ShardWriter:
    """Collects the documents of one file.

    Args:
        vocab_size: ids below 65,536 take two bytes each, others four.
    """

    def __init__(self, vocab_size: int) -> None:
        self._type = np.uint16 if vocab_size <= 2**16 else np.int32
        self._ids: list[npt.NDArray[np.generic]] = []
        self._sentences: list[npt.NDArray[np.int64]] = []
        self._documents: list[int] = []
        self._scores: list[npt.NDArray[np.float32]] = []

    def add(self, ids: Ids, sentence_sizes: npt.NDArray[np.int64], scores: Scores | None) -> None:
        """Add a document: its ids end to end, the ids in each sentence, the score of each."""
        self._ids.append(ids.astype(self._type))
        self._sentences.append(sentence_sizes)
        self._documents.append(len(sentence_sizes))
        if scores is not None:
            self._scores.append(scores.astype(np.float32))

    @property
    def counts(self) -> dict[str, int]:
        """How much was added, as `ShardRecord` names it."""
        sizes = [len(ids) for ids in self._ids]
        return {
            "documents": len(self._documents),
            "sentences": sum(self._documents),
            "tokens": sum(sizes),
            "longest": max(sizes, default=0),
            "one_sentence": sum(count == 1 for count in self._documents),
        }

    def write(self, folder: Path, name: str) -> None:
        """Write the file whole or not at all."""
        ends = np.cumsum(np.concatenate([np.zeros(0, np.int64), *self._sentences]), dtype=np.int64)
        arrays: dict[str, npt.NDArray[np.generic]] = {
            "ids": np.concatenate([np.zeros(0, self._type), *self._ids]),
            "sentence_ends": ends,
            "document_ends": np.cumsum(np.array(self._documents, np.int64), dtype=np.int64),
        }
        if self._scores:
            arrays["scores"] = np.concatenate(self._scores)
        tensors = {key: RawTensor.from_array(array) for key, array in arrays.items()}
        with Staging(folder) as staging:
            staging.add_tensors(name, tensors, {"format": "pegasus-shard", "version": str(VERSION)})


class Shards:
    """A prepared corpus, opened for reading: documents by number, nothing held in memory.

    Args:
        folder: what `pegasus prepare` wrote.

    Raises:
        BadData: it is not finished, or a file of it is missing or has another size.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest = Manifest.read(folder)
        for shard in self.manifest.shards:
            path = self.folder / shard.file
            size = path.stat().st_size if path.is_file() else None
            if size != shard.size:
                found = "is missing" if size is None else f"has {size} bytes"
                raise BadData(f"The file {found}, {shard.size} bytes were written. Prepare it again.", path)
        self._ends = np.cumsum([shard.documents for shard in self.manifest.shards], dtype=np.int64)
        self._open: dict[int, dict[str, npt.NDArray[np.generic]]] = {}

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}  # another process opens the files for itself

    def verify(self) -> None:
        """Compare every file with its sha256.

        Raises:
            BadData: a file was altered.
        """
        for shard in self.manifest.shards:
            found = sha256_of(self.folder / shard.file)
            if found != shard.sha256:
                raise BadData(
                    f"The file was altered: its sha256 is {found[:12]}…, {shard.sha256[:12]}… was written. "
                    "Run the same `pegasus prepare` again; it makes this file anew.",
                    self.folder / shard.file,
                )

    def document(self, index: int) -> tuple[list[Ids], Scores | None]:
        """Return the ids of each sentence of a document, and the sentences' scores where there are any."""
        if not 0 <= index < len(self):
            raise IndexError(f"document {index} of {len(self)}")
        arrays, row = self._place(index)
        first, last = _span(arrays["document_ends"], row)
        ends = arrays["sentence_ends"][first:last].astype(np.int64)
        start = int(cast(Any, arrays["sentence_ends"][first - 1])) if first else 0
        ids = arrays["ids"][start : int(ends[-1]) if len(ends) else start].astype(np.int32)
        scores = arrays["scores"][first:last].astype(np.float32) if "scores" in arrays else None
        return np.split(ids, ends[:-1] - start), scores

    def lengths(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the tokens of each of these documents."""
        return np.array([self._tokens(int(index)) for index in indices], np.int64)

    def _tokens(self, index: int) -> int:
        arrays, row = self._place(index)
        first, last = _span(arrays["document_ends"], row)
        ends = arrays["sentence_ends"]
        return int(cast(Any, ends[last - 1])) - (int(cast(Any, ends[first - 1])) if first else 0)

    def _place(self, index: int) -> tuple[dict[str, npt.NDArray[np.generic]], int]:
        number = int(np.searchsorted(self._ends, index, side="right"))
        if number not in self._open:
            path = self.folder / self.manifest.shards[number].file
            try:
                tensors, _ = read_safetensors(path)
            except CheckpointCorrupt as error:
                raise BadData(f"The file is damaged ({error}). Prepare it again.", path) from error
            self._open[number] = {name: tensor.array() for name, tensor in tensors.items()}
        return self._open[number], index - (int(self._ends[number - 1]) if number else 0)


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, read a piece at a time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _span(ends: npt.NDArray[np.generic], row: int) -> tuple[int, int]:
    return int(cast(Any, ends[row - 1])) if row else 0, int(cast(Any, ends[row]))
