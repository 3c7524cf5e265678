"""One text on its way to a summary, as a conversation: it asks for drafts, hears them, and ends in a `Summary`.

A text never calls the model. It yields the jobs it wants done and is sent their drafts, so that whoever
holds the conversation can put the jobs of many texts, and of many pieces of one text, into one batch.

A text that fits is one job. A long one that is read in pieces goes through rounds::

    text ──cut──▶ pieces ──summarize──▶ their summaries, joined
                    ▲                          │ still longer than a summary may be?
                    └──────────cut─────────────┘
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pegasus.data.sentences import Splitter, find_splitter
from pegasus.errors import BadData, TextTooLong
from pegasus.summarizer.checks import check_summary
from pegasus.summarizer.chunks import balance, split_units
from pegasus.summarizer.explain import explain, lean, token_ends
from pegasus.summarizer.lengths import Budget, plan_length
from pegasus.summarizer.reader import Reader
from pegasus.summarizer.records import Chunk, Finish, How, Summary
from pegasus.summarizer.repetition import measure_repetition
from pegasus.summarizer.settings import Settings
from pegasus.summarizer.writer import Draft, Job, Writer

Conversation = Generator[list[Job], list[Draft], Summary]
_Asking = Generator[list[Job], list[Draft], "list[Written]"]

_STOPS = (".", "!", "?", "…", "。", "！", "？", "।", "؟")
_CLOSERS = "\"'”’»)]}"
_SHRINKS = 0.9


@dataclass(frozen=True)
class Desk:
    """What every text of one call shares."""

    reader: Reader
    writer: Writer
    settings: Settings
    name: str = ""

    @cached_property
    def limit(self) -> int:
        """How many tokens may be read at once, the end token included."""
        return min(self.writer.limit, self.settings.max_input_tokens or self.writer.limit)

    @cached_property
    def split(self) -> Splitter:
        """The sentence rule."""
        return find_splitter(self.settings.splitter)


@dataclass(frozen=True)
class Piece:
    """What one job reads: neighbouring sentences, by number, and their tokens.

    Attributes:
        units: which of its round's sentences.
        sizes: how many tokens each of them has by itself.
        tokens: what is read, the end token included.
    """

    units: range
    sizes: Sequence[int]
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Written:
    """One piece's summary.

    Attributes:
        sentences: its sentences, whose concatenation is the summary.
        shares: [sentences, sentences of the round], how much each leans on what was read; None unless asked for.
        retried: whether it was written again because it was repetitive.
    """

    sentences: tuple[str, ...]
    draft: Draft
    seconds: float
    shares: np.ndarray | None = None
    retried: bool = False

    @property
    def text(self) -> str:
        """The summary."""
        return "".join(self.sentences).strip()


def summarize_text(text: str, desk: Desk) -> Conversation:
    """Hold the conversation about one text.

    Raises:
        BadData: the text is no string or holds nothing.
        TextTooLong: it does not fit and may not be cut, chunked or extended.
    """
    if not isinstance(text, str):
        raise BadData(f"A text must be a string; found {type(text).__name__}.")
    if not text.strip():
        raise BadData("The text is empty: there is nothing to summarize.")
    tokens = tuple(desk.reader.encode(text))
    how = _how(len(tokens), desk)
    budget = plan_length(desk.settings.length, desk.writer.usual, words=len(text.split()), tokens=len(tokens))
    if how == "chunk":
        return (yield from _read_in_pieces(text, tokens, budget, desk))
    return (yield from _read_at_once(text, tokens, how, budget, desk))


def _how(tokens: int, desk: Desk) -> How:
    wanted = desk.settings.long
    if tokens <= desk.limit:
        return "whole"
    if wanted == "error":
        raise TextTooLong(
            f"The text has {tokens:,} tokens and the model takes {desk.limit:,}: "
            "allow long='chunk' (reads all of it in pieces) or long='truncate' (reads the beginning)."
        )
    if wanted == "extend" and tokens > desk.settings.extend_limit:
        raise TextTooLong(
            f"The text has {tokens:,} tokens and long='extend' reads at most {desk.settings.extend_limit:,} at once: "
            "use long='chunk', or raise extend_limit if time and memory allow."
        )
    return wanted


# -- a text that is read at once -----------------------------------------------------------------------


def _read_at_once(text: str, tokens: tuple[int, ...], how: How, budget: Budget | None, desk: Desk) -> Conversation:
    used = tokens if how != "truncate" else (*tokens[: desk.limit - 1], tokens[-1])
    units = desk.split(text)
    sizes = desk.reader.count(units) if desk.settings.explain else []
    if sizes:  # stretched to the text's own tokens, then cut where the reading was
        sizes = list(np.diff([0, *token_ends(sizes, len(tokens) - 1)]))
    piece = Piece(range(len(units)), sizes, used)
    (written,) = yield from _write([piece], budget, desk, last=True)
    told = _told(text, tokens, [written], desk)
    notes = list(told.warnings)
    if how == "extend":
        notes.insert(0, f"extend: {len(used):,} tokens read at once by a checkpoint made for {desk.writer.limit:,}")
    made = explain(written.shares, written.sentences, units) if written.shares is not None else None
    return replace(
        told, long=how, used_tokens=len(used), truncated=len(used) < len(tokens), warnings=tuple(notes), explanation=made
    )


# -- a text that is read in pieces ---------------------------------------------------------------------


def _read_in_pieces(text: str, tokens: tuple[int, ...], budget: Budget | None, desk: Desk) -> Conversation:
    source, sizes = split_units(desk.split(text), desk.limit - 1, desk.reader.count)
    units: Sequence[str] = source
    first: list[Written] = []
    seconds, rounds, retried, notes = 0.0, 0, False, []
    trace: np.ndarray | None = None
    while True:
        pieces = _pieces(units, sizes, desk)
        share, last = _share(budget, len(pieces), desk)
        written = yield from _write(pieces, share, desk, last=len(pieces) == 1)
        if not first:
            first, chunks = written, _chunks(units, pieces, written)
        seconds += sum(each.seconds for each in written)
        retried |= any(each.retried for each in written)
        trace = _carried(trace, written)
        units, before = _joined(written), sum(sizes)
        sizes = desk.reader.count(units)
        if last or _short_enough(units, sizes, budget, desk):
            break
        if sum(sizes) > _SHRINKS * before:
            notes.append("merge: the joined summaries could not be made shorter")
            break
        rounds += 1
    told = _told(text, tokens, written, desk)
    made = explain(trace, units, source) if trace is not None else None
    return replace(
        told, long="chunk", chunks=chunks, merged=rounds, seconds=seconds, explanation=made,
        warnings=(*notes, *told.warnings) if not retried else _with_retry((*notes, *told.warnings)),
    )  # fmt: skip


def _pieces(units: Sequence[str], sizes: Sequence[int], desk: Desk) -> list[Piece]:
    """Cut a round's sentences into pieces that fit, as few and as even as possible."""
    room = desk.limit - 1
    while True:
        runs = balance(sizes, room)
        texts = ["".join(units[run.start : run.stop]) for run in runs]
        tokens = [tuple(desk.reader.encode(text)) for text in texts]
        over = max(map(len, tokens)) - desk.limit
        # Tokens next to each other may differ from tokens counted alone, by one at a sentence border.
        if over <= 0 or room <= over:
            return [Piece(run, sizes[run.start : run.stop], own) for run, own in zip(runs, tokens)]
        room -= over


def _share(budget: Budget | None, pieces: int, desk: Desk) -> tuple[Budget | None, bool]:
    """Return each piece's budget, and whether what comes out is then the whole summary."""
    if pieces == 1:
        return budget, True
    if budget is not None and desk.settings.sentences is None:
        share = budget.shared(pieces)
        if share.most * 2 >= desk.writer.usual.most:
            return share, True
    return None, False


def _joined(written: Sequence[Written]) -> list[str]:
    units: list[str] = []
    for each in written:
        if each.text:
            units += [*each.sentences[:-1], each.sentences[-1].rstrip() + "\n"]
    return units


def _short_enough(units: Sequence[str], sizes: Sequence[int], budget: Budget | None, desk: Desk) -> bool:
    most = (budget or desk.writer.usual).most
    wanted = desk.settings.sentences
    return not units or (sum(sizes) + 1 <= most and (wanted is None or len(units) <= wanted))


def _chunks(units: Sequence[str], pieces: Sequence[Piece], written: Sequence[Written]) -> tuple[Chunk, ...]:
    starts = np.concatenate([[0], np.cumsum([len(unit) for unit in units])])
    return tuple(
        Chunk(
            int(starts[piece.units.start]), int(starts[piece.units.stop]), len(piece.tokens), each.text, each.draft.score
        )
        for piece, each in zip(pieces, written)
    )


def _carried(trace: np.ndarray | None, written: Sequence[Written]) -> np.ndarray | None:
    """Lead a round's sentences back to those of the source: what leans on a sentence leans on its sources."""
    rows = [each.shares for each in written if each.shares is not None and each.text]
    if not rows:
        return None
    stacked = np.concatenate(rows).astype(np.float32)
    return stacked if trace is None else stacked @ trace


# -- writing -------------------------------------------------------------------------------------------


def _write(pieces: Sequence[Piece], budget: Budget | None, desk: Desk, *, last: bool) -> _Asking:
    """Have pieces summarized; again where that was asked for and is needed."""
    jobs = [Job(piece.tokens, budget) for piece in pieces]
    drafts = yield jobs
    written = [_read(draft, budget, desk) for draft in drafts]
    if desk.settings.retry_repetition:
        written = yield from _write_again(jobs, written, desk)
    wanted = desk.settings.sentences if last else None
    if wanted is not None and 0 < len(written[0].sentences) < wanted:
        written = yield from _write_longer(jobs[0], written[0], wanted, desk)
    if wanted is not None:
        written = [replace(each, sentences=each.sentences[:wanted]) for each in written]
    if desk.settings.explain:
        rounds_units = pieces[-1].units.stop
        written = [_explained(each, piece, rounds_units, desk) for each, piece in zip(written, pieces)]
    return written


def _read(draft: Draft, budget: Budget | None, desk: Desk) -> Written:
    sentences = desk.split(desk.reader.decode(draft.tokens))
    if budget is not None and draft.finish_reason == "length" and len(sentences) > 1:
        kept = "".join(sentences[:-1])
        if not sentences[-1].rstrip(_CLOSERS).endswith(_STOPS) and len(kept) >= len(sentences[-1]):
            sentences = sentences[:-1]
    return Written(tuple(sentences), draft, draft.seconds)


def _write_again(jobs: Sequence[Job], written: Sequence[Written], desk: Desk) -> _Asking:
    measured = [measure_repetition(each.text) for each in written]
    again = [index for index, found in enumerate(measured) if found.found]
    result = list(written)
    if again:
        drafts = yield [replace(jobs[index], no_repeat_ngram_size=3) for index in again]
        for index, draft in zip(again, drafts):
            fresh = _read(draft, jobs[index].budget, desk)
            better = fresh if measure_repetition(fresh.text).share <= measured[index].share else result[index]
            result[index] = replace(better, seconds=result[index].seconds + draft.seconds, retried=True)
    return result


def _write_longer(job: Job, written: Written, wanted: int, desk: Desk) -> _Asking:
    """Ask once more, for as many tokens as so many sentences took, times how many more are wanted."""
    least = min(len(written.draft.tokens) * wanted // len(written.sentences), 4 * desk.writer.usual.most)
    (draft,) = yield [replace(job, budget=Budget(least, max(2 * least, desk.writer.usual.most)))]
    fresh = _read(draft, job.budget, desk)
    better = fresh if len(fresh.sentences) > len(written.sentences) else written
    return [replace(better, seconds=written.seconds + draft.seconds, retried=written.retried)]


def _explained(written: Written, piece: Piece, units: int, desk: Desk) -> Written:
    attention_TS = desk.writer.attend(piece.tokens, written.draft.tokens)
    ends_t = _sentence_ends(written, desk)
    ends_s = token_ends(piece.sizes, sum(piece.sizes)) if len(piece.sizes) else []
    shares = np.zeros((len(written.sentences), units), dtype=np.float32)
    own = lean(attention_TS[:, : len(piece.tokens) - 1], ends_t, ends_s)
    shares[:, piece.units.start : piece.units.stop] = own
    return replace(written, shares=shares)


def _sentence_ends(written: Written, desk: Desk) -> list[int]:
    """Return for each sentence of a summary the index after its last token."""
    tokens = written.draft.tokens
    reach = [len(desk.reader.decode(tokens[: count + 1])) for count in range(len(tokens))]
    borders = np.cumsum([len(sentence.rstrip()) for sentence in written.sentences[:1]] or [0]).tolist()
    place, borders = 0, []
    for sentence in written.sentences:
        borders.append(place + len(sentence.rstrip()))
        place += len(sentence)
    return [next((count + 1 for count, end in enumerate(reach) if end >= border), len(tokens)) for border in borders]


# -- telling -------------------------------------------------------------------------------------------


def _told(text: str, tokens: Sequence[int], written: Sequence[Written], desk: Desk) -> Summary:
    """Make the record of a summary that is written; how the text was read is added by the caller."""
    summary = "\n".join(each.text for each in written if each.text)
    finish: Finish = "length" if any(each.draft.finish_reason == "length" for each in written) else "eos"
    whole = len(written) == 1 and written[0].text == desk.reader.decode(written[0].draft.tokens)
    size = len(written[0].draft.tokens) if whole else desk.reader.count([summary])[0] + 1
    warnings = check_summary(summary, text, desk.reader.looks_like_name) if desk.settings.check else ()
    wanted, found = desk.settings.sentences, sum(len(each.sentences) for each in written)
    if wanted is not None and found < wanted:
        warnings = (*warnings, f"sentences: {wanted} asked for, the model wrote {found}")
    return Summary(
        text=summary,
        score=float(np.mean([each.draft.score for each in written])),
        input_tokens=len(tokens),
        used_tokens=len(tokens),
        truncated=False,
        summary_tokens=size,
        finish_reason=finish,
        warnings=warnings if not any(each.retried for each in written) else _with_retry(warnings),
        seconds=sum(each.seconds for each in written),
        model=desk.name,
    )


def _with_retry(warnings: tuple[str, ...]) -> tuple[str, ...]:
    note = "retried: a repetitive draft was written again with no_repeat_ngram_size=3"
    return warnings if note in warnings else (*warnings, note)
