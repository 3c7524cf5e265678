"""Learning a vocabulary: a unigram model from your own texts, with the ids of PEGASUS."""

from __future__ import annotations

import io
import logging
import os
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import sentencepiece

from pegasus.errors import BadData, BadSetting
from pegasus.tokenization.segmentation.newline import check_newline
from pegasus.tokenization.segmentation.surrogates import mend_surrogates
from pegasus.tokenization.slow import PegasusTokenizer
from pegasus.tokenization.vocabulary.layout import NEWLINE_PIECE, OFFSET, UNK, Layout

logger = logging.getLogger(__name__)

#: sentencepiece leaves out longer lines without a word, so longer ones are cut before.
_LINE_BYTES = 4096


def train_vocabulary(
    texts: Iterable[str],
    folder: str | os.PathLike[str],
    vocab_size: int = 96_103,
    *,
    newline: str = "authors",
    offset: int = OFFSET,
    model_max_length: int = 1024,
    character_coverage: float = 0.9995,
    split_digits: bool = False,
    sample_lines: int = 5_000_000,
    seed: int = 0,
    threads: int = 4,
) -> PegasusTokenizer:
    """Learn a vocabulary from texts and write a tokenizer folder that every reader of PEGASUS loads.

    The same texts, seed and number of threads give the same files.

    Args:
        texts: documents; read once. Line breaks separate lines and are never inside a piece.
        folder: where spiece.model, tokenizer.json and their configuration are written.
        vocab_size: ids the model will have, the reserved ones included (pieces + offset).
        newline: what the tokenizer does with line breaks; see docs/tokenizers.md.
        offset: ids to reserve, 103 in every released PEGASUS.
        model_max_length: tokens that the model will take.
        character_coverage: the share of characters that must have a piece; rarer ones become ``<unk>``.
        split_digits: every digit is a piece of its own, so that a small model can copy any number.
        sample_lines: at most so many lines, drawn at random, are learnt from.
        seed: of that draw.
        threads: part of what the result depends on, by rounding.

    Returns:
        The tokenizer, as loaded from the folder.

    Raises:
        BadSetting: when the size leaves no room for pieces, or is too large for the texts.
        BadData: when the texts hold nothing.
    """
    check_newline(newline)
    pieces = vocab_size - offset
    if pieces <= UNK + 2:
        raise BadSetting(
            f"vocab_size={vocab_size} leaves no piece: {offset + UNK + 2} ids are reserved. Use more."
        )
    lines = _sample(_lines(texts), sample_lines, seed)
    if not lines:
        raise BadData("There is no text to learn a vocabulary from: every document is empty.")
    logger.info("learning %d pieces from %d lines", pieces, len(lines))
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    model = path / "spiece.model"
    model.write_bytes(_train(lines, pieces, character_coverage, threads, split_digits))
    tokenizer = PegasusTokenizer(
        str(model),
        offset=offset,
        model_max_length=model_max_length,
        newline=newline,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.save_pretrained(path)
    return PegasusTokenizer.from_pretrained(path)


def _train(
    lines: list[str], pieces: int, character_coverage: float, threads: int, split_digits: bool
) -> bytes:
    names = Layout()
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="unigram",
            vocab_size=pieces,
            character_coverage=character_coverage,
            split_digits=split_digits,
            pad_id=0,
            eos_id=1,
            unk_id=UNK,
            bos_id=-1,
            pad_piece=names.pad_token,
            eos_piece=names.eos_token,
            unk_piece=names.unk_token,
            user_defined_symbols=[NEWLINE_PIECE],
            normalization_rule_name="nmt_nfkc",
            max_sentence_length=2 * _LINE_BYTES,
            num_threads=threads,
            train_extremely_large_corpus=len(lines) > 2_000_000,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise _too_large(pieces, len(lines), str(error)) from error
    return model.getvalue()


def _too_large(pieces: int, lines: int, said: str) -> BadSetting:
    limit = re.search(r"<= (\d+)", said)
    remedy = f"{pieces - int(limit[1])} less, or more text" if limit else "a smaller one, or more text"
    return BadSetting(
        f"vocab_size is too large: {pieces} pieces cannot be learnt from {lines} lines ({said.strip()}). "
        f"Use {remedy}."
    )


def _lines(texts: Iterable[str]) -> Iterator[str]:
    """Lines without markers, none longer than sentencepiece takes."""
    for text in texts:
        for line in mend_surrogates(text).replace(NEWLINE_PIECE, "\n").splitlines():
            yield from _short(line.strip())


def _short(line: str) -> Iterator[str]:
    if len(line.encode("utf-8")) <= _LINE_BYTES:
        if line:
            yield line
        return
    part: list[str] = []
    size = 0
    for word in line.split():
        length = len(word.encode("utf-8")) + 1
        if part and size + length > _LINE_BYTES:
            yield " ".join(part)
            part, size = [], 0
        part.append(word)
        size += length
    yield " ".join(part)


def _sample(lines: Iterable[str], count: int, seed: int) -> list[str]:
    """A uniform draw of at most ``count`` lines, in one pass over them."""
    drawn: list[str] = []
    dice = random.Random(seed)
    for place, line in enumerate(lines):
        if place < count:
            drawn.append(line)
        elif (seat := dice.randrange(place + 1)) < count:
            drawn[seat] = line
    return drawn
