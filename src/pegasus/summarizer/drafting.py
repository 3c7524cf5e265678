"""Having pieces summarized: once, again where a draft is repetitive or too short, and explained."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np

from pegasus.generation.processors.completion import is_whole
from pegasus.generation.processors.wording import Wording
from pegasus.summarizer.context import Context, Piece, Written
from pegasus.summarizer.endings import (
    Ending,
    HeldEnding,
    SourceEnding,
    end_at_word,
    is_finished,
    within_words,
)
from pegasus.summarizer.explain import lean, token_ends
from pegasus.summarizer.lengths import SMALLEST, Budget
from pegasus.summarizer.repetition import measure_repetition
from pegasus.summarizer.writer import Draft, Job

#: Yields jobs, is sent their drafts in the same order, and returns what was made of them.
Drafting = Generator[list[Job], list[Draft], list[Written]]

BLOCKED_RUN = 3
_MOST_LONGER = 4


def write_pieces(pieces: Sequence[Piece], budget: Budget | None, context: Context) -> Drafting:
    """Have each piece summarized within a budget."""
    jobs = [Job(piece.tokens, budget, broken_off=piece.broken_off) for piece in pieces]
    drafts = yield jobs
    written = [_read(draft, job, context) for draft, job in zip(drafts, jobs)]
    if context.settings.retry_repetition:
        written = yield from _write_again(jobs, written, context)
    return [_explained(each, piece, context) for each, piece in zip(written, pieces)]


def write_sentences(piece: Piece, budget: Budget | None, wanted: int, context: Context) -> Drafting:
    """Have one piece summarized in so many sentences: once more where fewer come, cut where more do."""
    (written,) = yield from write_pieces([piece], budget, context)
    if 0 < len(written.sentences) < wanted:
        least = len(written.draft.tokens) * wanted // len(written.sentences)
        least = min(least, _MOST_LONGER * context.writer.usual.most)
        most = max(SMALLEST, min(len(piece.tokens), context.writer.limit))
        longer = Budget(min(least, most), min(max(2 * least, context.writer.usual.most), most))
        (fresh,) = yield from write_pieces([piece], longer, context)
        seconds = written.seconds + fresh.seconds
        better = fresh if len(fresh.sentences) > len(written.sentences) else written
        written = replace(better, seconds=seconds)
    shares = written.shares[:wanted] if written.shares is not None else None
    cut = written.cut and len(written.sentences) <= wanted
    return [replace(written, sentences=written.sentences[:wanted], shares=shares, cut=cut)]


def _read(draft: Draft, job: Job, context: Context) -> Written:
    sentences, cut = list(context.split(context.reader.decode(draft.tokens))), False
    if sentences and (draft.finish_reason == "length" or _breaks_off(sentences, job, context)):
        sentences = _ended(sentences, job, context)
        cut = bool(sentences) and not is_finished(sentences[-1])
    if job.budget is not None and job.budget.words is not None and sentences:
        sentences, shortened = within_words(sentences, job.budget.words)
        if shortened:
            sentences = end_at_word(sentences, _ending(job, context), after=" ")
        cut = bool(sentences) and (shortened or cut) and not is_finished(sentences[-1])
    return Written(tuple(sentences), draft, draft.seconds, cut=cut)


def _breaks_off(sentences: Sequence[str], job: Job, context: Context) -> bool:
    """Whether what the caller told `generate` stopped it within a word, of which a draft says nothing."""
    wording = _held(job, context) if context.settings.generate else None
    return wording is not None and not is_whole(wording, "".join(sentences).rstrip())


def _ended(sentences: list[str], job: Job, context: Context) -> list[str]:
    """End at a whole sentence where a length was asked for and enough is left, else at a whole word."""
    ending = _ending(job, context)
    if is_finished(sentences[-1]) and ending.is_whole("".join(sentences).rstrip(), ""):
        return sentences
    if job.budget is not None and 2 * sum(map(len, sentences[:-1])) >= len(sentences[-1]):
        sentences = sentences[:-1]
        return sentences if is_finished(sentences[-1]) else end_at_word(sentences, ending, after=" ")
    return end_at_word(sentences, ending)


def _ending(job: Job, context: Context) -> Ending:
    """What is known of the words of a job's summary."""
    free = SourceEnding(context.reader.decode(job.tokens))
    wording = _held(job, context)
    return free if wording is None else HeldEnding(wording, free)


def _held(job: Job, context: Context) -> Wording | None:
    return context.writer.wording(job, context.settings.faithful)


def _write_again(jobs: Sequence[Job], written: Sequence[Written], context: Context) -> Drafting:
    measured = [measure_repetition(each.text) for each in written]
    again = [index for index, found in enumerate(measured) if found.found]
    result = list(written)
    if not again:
        return result
    drafts = yield [replace(jobs[index], no_repeat_ngram_size=BLOCKED_RUN) for index in again]
    for index, draft in zip(again, drafts):
        fresh = _read(draft, jobs[index], context)
        better = (
            fresh if measure_repetition(fresh.text).badness <= measured[index].badness else result[index]
        )
        result[index] = replace(better, seconds=result[index].seconds + draft.seconds, retried=True)
    return result


def _explained(written: Written, piece: Piece, context: Context) -> Written:
    """Add how much each sentence leans on each sentence of the piece."""
    if not context.settings.explain:
        return written
    attention_TS = context.writer.attend(piece.tokens, written.draft.tokens)[:, : len(piece.tokens) - 1]
    ends_s = token_ends(piece.sizes, sum(piece.sizes))
    return replace(written, shares=lean(attention_TS, _sentence_ends(written, context), ends_s))


def _sentence_ends(written: Written, context: Context) -> list[int]:
    """Return for each sentence of a summary the index after its last token."""
    tokens = written.draft.tokens
    reach = np.maximum.accumulate(
        [len(context.reader.decode(tokens[:count])) for count in range(len(tokens) + 1)]
    )
    starts = np.cumsum([0, *map(len, written.sentences)])
    borders = [start + len(sentence.rstrip()) for start, sentence in zip(starts, written.sentences)]
    return [min(int(np.searchsorted(reach, border)), len(tokens)) for border in borders]
