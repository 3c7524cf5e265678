"""Text in, summary out: the one door for people, and for the command line, the server and evaluation."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, overload

from pegasus.backends.choose import open_model
from pegasus.errors import CheckpointCorrupt, PegasusError
from pegasus.hub import HubOptions, locate
from pegasus.summarizer.context import Context
from pegasus.summarizer.document import summarize_text
from pegasus.summarizer.records import Summary
from pegasus.summarizer.scheduler import Progress, Scheduler, in_order
from pegasus.summarizer.settings import COMMON_WORDS, FaithfulMode, Settings, whole_number
from pegasus.summarizer.text_codec import TextCodec
from pegasus.summarizer.texts import many_texts
from pegasus.summarizer.writer import ModelWriter, Writer

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "pegasus-mini"
Newline = Literal["drop", "authors", "flax"]
_MOST_WINDOW = 2**31 - 1


class Summarizer:
    """Summarizes texts with one checkpoint.

    Example:
        >>> summarizer = Summarizer.from_pretrained("pegasus-mini")
        >>> summary = summarizer(text)
        >>> summary.text, summary.truncated, summary.warnings

    Args:
        writer: the model.
        reader: its tokenizer.
        name: what to call the checkpoint in results.
        settings: the settings of calls that name none.
    """

    def __init__(
        self, writer: Writer, reader: TextCodec, *, name: str = "", settings: Settings | None = None
    ) -> None:
        self.writer = writer
        self.reader = reader
        self.name = name
        self.settings = settings or Settings()

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        device: str = "auto",
        dtype: str = "auto",
        threads: int | None = None,
        backend: str | None = None,
        newline: Newline | None = None,
        **options: Any,
    ) -> Summarizer:
        """Open a checkpoint.

        Args:
            name: a folder, a bundled checkpoint, or a repository on the Hugging Face hub.
            device: "cpu", "cuda", "cuda:1", "mps"; "auto" takes an accelerator where there is one.
            dtype: "float32", "bfloat16", "float16", and on a CPU "int8", which is approximate. "auto" loses
                nothing on a CPU; on an accelerator it is bfloat16 where that computes in it, else float32.
            threads: threads of the CPU; None: as many as there are cores.
            backend: what computes, one of `pegasus.backends.backend_names()`; None: packed weights on a
                CPU, PyTorch elsewhere.
            newline: what becomes of line breaks (`pegasus.tokenization.segmentation.newline`). None:
                what the checkpoint says, and "authors" where it says nothing and its vocabulary has
                a token for them.
            options: hub options (revision, token, cache_dir, local_files_only, force_download, subfolder),
                and settings of `Settings` that become the defaults of every call.

        Raises:
            CheckpointNotFound: nothing has that name.
            CheckpointCorrupt: a file is cut short, altered or unreadable.
            CheckpointMismatch: the parameters do not fit the configuration.
            BadSetting: an unknown option, backend, device or dtype.
            BackendMissing: what the backend computes with is not installed.
        """
        begin = time.perf_counter()
        hub = HubOptions.take(options)
        settings = Settings().changed(**options)
        folder = locate(name, hub)
        tokenizer = _open_tokenizer(folder, newline)
        model = open_model(folder, backend=backend, device=device, dtype=dtype, threads=threads)
        spent = time.perf_counter() - begin
        logger.info("opened %s in %.1f s: %s on %s", name, spent, model.dtype, model.device)
        rows, tokens = int(model.config.vocab_size), len(tokenizer)
        if rows != tokens:
            logger.warning("%s: %s", name, _sizes(rows, tokens))
        writer = ModelWriter(model, folder, tuple(range(tokens, rows)), _FaithfulRules(tokenizer, folder))
        return cls(writer, TextCodec(tokenizer, rows), name=os.fspath(name), settings=settings)

    @overload
    def __call__(self, texts: str, *, progress: Progress | None = None, **settings: Any) -> Summary: ...
    @overload
    def __call__(
        self, texts: Iterable[str], *, progress: Progress | None = None, **settings: Any
    ) -> list[Summary]: ...
    def __call__(
        self, texts: str | Iterable[str], *, progress: Progress | None = None, **settings: Any
    ) -> Summary | list[Summary]:
        """Summarize a text, or several: a text gives a summary, several a list in the same order.

        Args:
            texts: one text, or several: a list, a generator, an array or a column of a table.
            progress: is told (done, of how many) after each batch.
            settings: those of `Settings` that differ from this summarizer's own.

        Raises:
            BadData: a text is empty or no string.
            TextTooLong: a text is too long, and `long="error"`.
            BadSetting: an unknown setting or a value that makes no sense.
        """
        ends = self.attempt([texts] if isinstance(texts, str) else texts, progress=progress, **settings)
        for index, end in enumerate(ends):
            if isinstance(end, PegasusError):
                raise end if isinstance(texts, str) else type(end)(f"Text {index}: {end}") from end
        summaries = [end for end in ends if isinstance(end, Summary)]
        return summaries[0] if isinstance(texts, str) else summaries

    def attempt(
        self, texts: Iterable[str], *, progress: Progress | None = None, **settings: Any
    ) -> list[Summary | PegasusError]:
        """Summarize texts, and return the error in the place of each text that cannot be summarized.

        Args:
            texts: the texts.
            progress: see `__call__`.
            settings: see `__call__`.

        Raises:
            BadData: these are not several texts at all.
        """
        return list(self._ends(list(many_texts(texts)), progress, settings))

    def stream(
        self, texts: Iterable[str], *, window: int = 64, progress: Progress | None = None, **settings: Any
    ) -> Iterator[Summary | PegasusError]:
        """Summarize any number of texts in bounded memory, in order.

        Each end is handed out as soon as it and those before it are there. Where the source of the texts
        raises, the texts before that are handed out first.

        Args:
            texts: read as far as needed, `window` at a time; batches are made within a window.
            window: how many texts are held at once.
            progress: see `__call__`.
            settings: see `__call__`.

        Yields:
            For each text its summary, or the error that it ended in.
        """
        source = iter(many_texts(texts))
        window = whole_number("window", window, 1, _MOST_WINDOW) or 1
        while True:
            batch, failure = _take(source, window)
            yield from self._ends(batch, progress, settings)
            if failure is not None:
                raise failure
            if len(batch) < window:
                return

    def _ends(
        self, texts: Sequence[str], progress: Progress | None, settings: Mapping[str, Any]
    ) -> Iterator[Summary | PegasusError]:
        context = Context(self.reader, self.writer, self.settings.changed(**settings), self.name)
        scheduler = Scheduler(self.writer, context.settings, progress)
        return in_order(scheduler, [summarize_text(text, context) for text in texts])


class _FaithfulRules:
    """What `generate` takes for each mode of faithful decoding; copies make it anew."""

    def __init__(self, tokenizer: Any, folder: Path) -> None:
        self.tokenizer, self.folder = tokenizer, folder
        self._made: dict[FaithfulMode, Any] = {}

    def __call__(self, mode: FaithfulMode) -> Any:
        from pegasus.summarizer.faithful import faithful_to  # only who asks for it waits for its lists

        if mode not in self._made:
            self._made[mode] = faithful_to(self.tokenizer, mode, self.folder)
            if mode == "words" and self._made[mode].lexicon.free:
                logger.warning(
                    "%s has no %s: every word in small letters is free. `pegasus words` makes a list.",
                    self.folder,
                    COMMON_WORDS,
                )
        return self._made[mode]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_made": {}}


def _take(source: Iterator[str], most: int) -> tuple[list[str], Exception | None]:
    """Return the next texts of a source, and what it raised where it broke off."""
    taken: list[str] = []
    try:
        for text in islice(source, most):
            taken.append(text)
    except Exception as error:
        return taken, error
    return taken, None


def _sizes(rows: int, tokens: int) -> str:
    """What follows from a model and a tokenizer of different sizes."""
    follows = (
        "texts that need one of the others end in an error"
        if tokens > rows
        else "the others are never written"
    )
    return f"the tokenizer has {tokens:,} ids and the model {rows:,} rows; {follows}"


def _open_tokenizer(folder: Path, newline: Newline | None) -> Any:
    from pegasus.tokenization.auto import AutoTokenizer  # compiled libraries: only when needed

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except CheckpointCorrupt as error:
        raise CheckpointCorrupt(f"The tokenizer in {folder} cannot be read. {error}") from error
    if newline is not None:
        tokenizer.newline = newline
    elif not _says_newline(folder) and tokenizer.convert_tokens_to_ids("<n>") != tokenizer.unk_token_id:
        tokenizer.newline = "authors"
    return tokenizer


def _says_newline(folder: Path) -> bool:
    path = folder / "tokenizer_config.json"  # AutoTokenizer has read it already, where there is one
    return path.is_file() and "newline" in json.loads(path.read_text(encoding="utf-8"))
