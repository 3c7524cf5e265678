"""One text on its way to a summary, as a conversation: it asks for drafts and ends in a `Summary`.

A text never calls the model. It yields the jobs it wants done and is sent their drafts, so that whoever
holds the conversation can put the jobs of many texts, and of many pieces of one text, into one batch.

A text that fits is one job. A long one that is read in pieces goes through rounds::

    text ──cut──▶ pieces ──summarize──▶ their summaries, joined
                    ▲                          │ still longer than a summary may be?
                    └──────────cut─────────────┘
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pegasus.errors import BadData, TextTooLong
from pegasus.summarizer.characters import Unknown, refuse_unknown
from pegasus.summarizer.checks import check_attribution, check_summary
from pegasus.summarizer.chunks import balance, split_units
from pegasus.summarizer.context import Context, Piece, Written
from pegasus.summarizer.drafting import BLOCKED_RUN, write_pieces, write_sentences
from pegasus.summarizer.explain import explain, token_ends
from pegasus.summarizer.lengths import Budget, plan_length
from pegasus.summarizer.records import Chunk, Finish, How, Summary
from pegasus.summarizer.repair import Repaired
from pegasus.summarizer.texts import not_a_text
from pegasus.summarizer.writer import Draft, Job

SummaryTask = Generator[list[Job], list[Draft], Summary]

_SHRINKS = 0.9


@dataclass(frozen=True)
class Text:
    """A text and what is decided about it before anything is written."""

    text: str
    tokens: tuple[int, ...]
    budget: Budget | None
    unknown: Unknown
    notes: tuple[str, ...] = ()


@dataclass
class Round:
    """The state of a long text between two rounds.

    Attributes:
        units: the sentences to be read next: the text's own at first, then those of the summaries.
        sizes: how many tokens each has.
        trace: [units, sentences of the text], how much each leans on the text; None in the first round or
            where nobody asked.
    """

    units: Sequence[str]
    sizes: Sequence[int]
    trace: np.ndarray | None = None
    chunks: tuple[Chunk, ...] = ()
    seconds: float = 0.0
    retried: bool = False
    prevented: int = 0
    rounds: int = 0
    notes: list[str] = field(default_factory=list)


def summarize_text(text: str, context: Context) -> SummaryTask:
    """Hold the conversation about one text.

    Raises:
        BadData: the text is no string, holds nothing, or is not in the vocabulary's characters.
        TextTooLong: it does not fit and may not be cut, read in pieces or extended.
    """
    if not isinstance(text, str):
        raise BadData(f"A text must be a string; {not_a_text(text)}")
    if not text.strip():
        raise BadData("The text is empty: there is nothing to summarize.")
    unknown = context.reader.characters.find_unknown(text)
    refuse_unknown(unknown, context.settings.unknown)
    (tokens,) = context.reader.encode([text])
    if len(tokens) < 2:  # the end alone: what there was has no shape, as marks of direction have none
        raise BadData("The text holds nothing that can be seen: there is nothing to summarize.")
    how = _how(len(tokens), context)
    budget, notes = _budget(text, tokens, how, context)
    planned = Text(text, tokens, budget, unknown, notes)
    if how == "chunk":
        return (yield from _read_in_pieces(planned, context))
    return (yield from _read_at_once(planned, how, context))


def _budget(
    text: str, tokens: Sequence[int], how: How, context: Context
) -> tuple[Budget | None, tuple[str, ...]]:
    """Return how long the summary shall be, as far as text and model let it, and what to say of that."""
    words = len(text.split())
    asked = plan_length(context.settings.length, context.writer.usual, words=words, tokens=len(tokens) - 1)
    if asked is None:
        return None, ()
    # Pieces have limits of their own, and together as many tokens as the text.
    most = len(tokens) if how == "chunk" else min(len(tokens), context.limit)
    budget = asked.within(most)
    if budget == asked or asked.words is None:
        return budget, ()
    told = f"length: {asked.words:,} words were asked for"
    if most == len(tokens):
        return budget, (f"{told} of a text of {words:,}: it was not asked for more than the text has",)
    return budget, (f"{told}: this model writes at most {most:,} tokens at once",)


def _how(tokens: int, context: Context) -> How:
    wanted = context.settings.long
    if tokens <= context.limit:
        return "whole"
    if wanted == "error":
        raise TextTooLong(
            f"The text has {tokens:,} tokens and the model takes {context.limit:,}: "
            "set `long` to chunk (reads all of it in pieces) or truncate (reads the beginning)."
        )
    if wanted == "extend" and tokens > context.settings.extend_limit:
        raise TextTooLong(
            f"The text has {tokens:,} tokens and extend reads at most "
            f"{context.settings.extend_limit:,} at once: set `long` to chunk, or raise extend_limit."
        )
    return wanted


def _read_at_once(text: Text, how: How, context: Context) -> SummaryTask:
    used = text.tokens if how != "truncate" else (*text.tokens[: context.limit - 1], text.tokens[-1])
    units = context.split(text.text) if context.settings.explain else []
    ends = token_ends(context.reader.count(units), len(text.tokens) - 1)
    truncated = len(used) < len(text.tokens)
    piece = Piece(range(len(units)), list(np.diff([0, *ends])), used, broken_off=truncated)
    if context.settings.sentences is None:
        written = yield from write_pieces([piece], text.budget, context)
    else:
        written = yield from write_sentences(piece, text.budget, context.settings.sentences, context)
    told = _told(text, written, context)
    notes = told.warnings
    if how == "extend":
        notes = (
            f"extend: a checkpoint made for {context.limit:,} tokens read {len(used):,} at once",
            *notes,
        )
    shares = written[0].shares
    made = None if shares is None else explain(shares, _as_told(written[0].sentences, text, context), units)
    return replace(
        told, long=how, used_tokens=len(used), truncated=truncated, warnings=notes, explanation=made
    )


def _read_in_pieces(text: Text, context: Context) -> SummaryTask:
    source, sizes = split_units(context.split(text.text), context.limit - 1, context.reader.count)
    state = Round(source, sizes)
    while True:
        pieces = _pieces(state, context)
        budget, last = _share(text.budget, len(pieces), context)
        if len(pieces) == 1 and context.settings.sentences is not None:
            written = yield from write_sentences(pieces[0], budget, context.settings.sentences, context)
        else:
            written = yield from write_pieces(pieces, budget, context)
        before = sum(state.sizes)
        _advance(state, pieces, written, context)
        if last or _short_enough(state, text.budget, context):
            break
        if sum(state.sizes) > _SHRINKS * before:
            state.notes.append("merge: the joined summaries could not be made shorter")
            break
        state.rounds += 1
    told = _told(text, written, context)
    retry = (_RETRIED,) if state.retried and _RETRIED not in told.warnings else ()
    return replace(
        told,
        long="chunk",
        chunks=state.chunks,
        merged=state.rounds,
        seconds=state.seconds,
        prevented=state.prevented,
        warnings=(*state.notes, *told.warnings, *retry),
        explanation=None
        if state.trace is None
        else explain(state.trace, _as_told(state.units, text, context), source),
    )


def _pieces(state: Round, context: Context) -> list[Piece]:
    """Cut a round's sentences into pieces that fit, as few and as even as possible."""
    room = context.limit - 1
    while True:
        runs = balance(state.sizes, room)
        tokens = context.reader.encode(["".join(state.units[run.start : run.stop]) for run in runs])
        over = max(map(len, tokens)) - context.limit
        # Sentences side by side may have a token more at their border than when counted alone.
        if over <= 0 or room <= over:
            return [Piece(run, state.sizes[run.start : run.stop], own) for run, own in zip(runs, tokens)]
        room -= over


def _share(budget: Budget | None, pieces: int, context: Context) -> tuple[Budget | None, bool]:
    """Return each piece's budget, and whether what comes out is then the whole summary."""
    if pieces == 1:
        return budget, True
    if budget is not None and context.settings.sentences is None:
        share = budget.shared(pieces)
        if 2 * share.most >= context.writer.usual.most:
            return share, True
    return None, False


def _advance(state: Round, pieces: Sequence[Piece], written: Sequence[Written], context: Context) -> None:
    """Make the summaries of one round the input of the next."""
    if not state.chunks:
        state.chunks = _chunks(state.units, pieces, written)
    state.trace = _traced(state, pieces, written)
    state.units = [
        unit
        for each in written
        if each.text
        for unit in (*each.sentences[:-1], each.sentences[-1].rstrip() + "\n")
    ]
    state.sizes = context.reader.count(state.units)
    state.seconds += sum(each.seconds for each in written)
    state.retried |= any(each.retried for each in written)
    state.prevented += sum(each.draft.prevented for each in written)


def _chunks(units: Sequence[str], pieces: Sequence[Piece], written: Sequence[Written]) -> tuple[Chunk, ...]:
    starts = np.cumsum([0, *map(len, units)]).tolist()
    return tuple(
        Chunk(
            starts[piece.units.start],
            starts[piece.units.stop],
            len(piece.tokens),
            each.text,
            each.draft.score,
        )
        for piece, each in zip(pieces, written)
    )


def _traced(state: Round, pieces: Sequence[Piece], written: Sequence[Written]) -> np.ndarray | None:
    """Lead the sentences written back to those of the text: they lean on what theirs leaned on."""
    rows = []
    for piece, each in zip(pieces, written):
        if each.shares is not None and each.text:
            wide = np.zeros((len(each.shares), len(state.units)), dtype=np.float32)
            wide[:, piece.units.start : piece.units.stop] = each.shares
            rows.append(wide)
    if not rows:
        return None
    stacked = np.concatenate(rows)
    return stacked if state.trace is None else stacked @ state.trace


def _short_enough(state: Round, budget: Budget | None, context: Context) -> bool:
    most = (budget or context.writer.usual).most
    wanted = context.settings.sentences
    return sum(state.sizes) + 1 <= most and (wanted is None or len(state.units) <= wanted)


_RETRIED = f"retried: a repetitive draft was written again with no_repeat_ngram_size={BLOCKED_RUN}"


def _told(text: Text, written: Sequence[Written], context: Context) -> Summary:
    """Make the record of a summary that is written; how its text was read is added by the caller."""
    summary = "\n".join(each.text for each in written if each.text)
    repaired: tuple[Repaired, ...] = ()
    if context.settings.repair:
        summary, repaired = context.repairer(text.text)(summary)
    finish: Finish = "length" if any(each.draft.finish_reason == "length" for each in written) else "eos"
    warnings = (
        check_summary(summary, text.text, context.reader.looks_like_name) if context.settings.check else ()
    )
    if context.settings.attribution:
        sentences, source = context.split(summary), context.split(text.text)
        warnings = (*warnings, *check_attribution(sentences, source, context.reader.looks_like_name))
    if text.unknown and context.settings.unknown != "ignore":
        warnings = (f"unknown: the vocabulary lacks {text.unknown}", *warnings)
    size, cut = _size(summary, written, context), any(each.cut for each in written)
    if context.settings.check and size > len(text.tokens):
        warnings = (*warnings, f"longer: {size:,} tokens, and the text has {len(text.tokens):,}")
    if cut:
        warnings = (*warnings, "cut: it met its limit and ends in the middle of a sentence")
    wanted, found = context.settings.sentences, sum(len(each.sentences) for each in written)
    if wanted is not None and found < wanted:
        warnings = (*warnings, f"sentences: {wanted} asked for, the model wrote {found}")
    if any(each.retried for each in written):
        warnings = (*warnings, _RETRIED)
    if repaired:
        warnings = (*warnings, f"repaired: {', '.join(f'{one.written} to {one.now}' for one in repaired)}")
    warnings = (*warnings, *text.notes)
    return Summary(
        text=summary,
        score=float(np.mean([each.draft.score for each in written])),
        input_tokens=len(text.tokens),
        used_tokens=len(text.tokens),
        truncated=False,
        summary_tokens=size,
        finish_reason=finish,
        unknown=text.unknown,
        cut=cut,
        warnings=warnings,
        seconds=sum(each.seconds for each in written),
        model=context.name,
        prevented=sum(each.draft.prevented for each in written),
        repaired=repaired,
    )


def _as_told(sentences: Sequence[str], text: Text, context: Context) -> Sequence[str]:
    """A summary's sentences with their near-copies put right, where that was asked for."""
    if not context.settings.repair:
        return sentences
    repairer = context.repairer(text.text)
    return [repairer(sentence)[0] for sentence in sentences]


def _size(summary: str, written: Sequence[Written], context: Context) -> int:
    tokens = written[0].draft.tokens
    if len(written) == 1 and summary == context.reader.decode(tokens):
        return len(tokens)
    return context.reader.count([summary])[0] + 1
