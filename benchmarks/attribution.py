"""Does the check of attribution find swapped names and numbers, and does it leave true sentences alone?

Labelled sentences are made from the test splits, by a fixed seed:

- *wrong*: a sentence of the document, or of its human summary, in which number or subject is that
  of another sentence. The name and the number come from sentences that do not have the other.
- *right*: sentences of documents as they are, and of human summaries, that have a subject and a number;
  the document has both of them.

    scripts/bench attribution --data ../shared/data [--each 1000] [--show 10]
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pegasus import AutoTokenizer
from pegasus.data.read import read_pairs
from pegasus.data.sentences import split_careful
from pegasus.hub import locate
from pegasus.summarizer.attribution import Facts, Rule, unattributed
from pegasus.summarizer.folding import fold
from pegasus.summarizer.numbers import find_numbers
from pegasus.summarizer.proper_names import name_runs
from pegasus.summarizer.text_codec import TextCodec

SETS = "senate_headline gumsum wiki_lead billsum113 gov_blog openstax qmsum"
RULES = [Rule(back, any_name) for any_name in (False, True) for back in ("never", "pronoun", "always")]
_KINDS = ("document, name", "document, number", "summary, name", "summary, number")


@dataclass(frozen=True)
class Case:
    """One sentence and the text that it is held against.

    Attributes:
        sentence: what a summary would say.
        text: the sentences of the document.
        kind: where it comes from and, if it is wrong, what was swapped.
        wrong: whether it was swapped.
    """

    sentence: str
    text: tuple[Facts, ...]
    kind: str
    wrong: bool


@dataclass(frozen=True)
class Said:
    """A sentence that has a subject and a number."""

    sentence: str
    subject: str
    number: str
    facts: Facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the sets")
    parser.add_argument("--sets", nargs="+", default=SETS.split())
    parser.add_argument("--each", type=int, default=1000, help="so many wrong ones, and so many right ones")
    parser.add_argument("--rows", type=int, default=150, help="of each set")
    parser.add_argument("--show", type=int, default=0, help="so many of what it gets wrong")
    asked = parser.parse_args()
    looks_like_name = TextCodec(AutoTokenizer.from_pretrained(locate("pegasus-mini"))).looks_like_name
    draw = random.Random(0)
    cases = [case for name in asked.sets for case in _cases(asked, name, looks_like_name, draw)]
    chosen = [*_even(cases, asked.each, draw, wrong=True), *_even(cases, asked.each, draw, wrong=False)]
    print("| back | names | precision | recall | right, document | right, summary | wrong |")
    print("|---|---|---:|---:|---:|---:|---|")
    for rule in RULES:
        warned = [bool(unattributed([one.sentence], one.text, looks_like_name, rule)) for one in chosen]
        print(_row(rule, chosen, warned), flush=True)
        if rule == Rule():
            missed = [case for case, found in zip(chosen, warned) if found != case.wrong]
    for case in draw.sample(missed, min(asked.show, len(missed))):
        print("missed" if case.wrong else "wrongly warned", "|", case.kind, "|", case.sentence.strip())


def _cases(
    asked: argparse.Namespace, name: str, looks_like_name: object, draw: random.Random
) -> Iterator[Case]:
    for pair in islice(read_pairs([asked.data / name / "test.jsonl.xz"]), asked.rows):
        text = tuple(map(Facts, split_careful(pair.document)))
        document = [said for one in text if (said := _said(one.text, looks_like_name))]
        human = [said for one in split_careful(pair.summaries[0]) if (said := _said(one, looks_like_name))]
        everything = Facts(pair.document)
        human = [said for said in human if _is_held(said, everything)]
        for kind, some in (("document", document), ("summary", human)):
            yield from (Case(said.sentence, text, kind, wrong=False) for said in some[:4])
            for said in some[:4]:
                yield from _swapped(said, document, text, kind, draw)


def _said(sentence: str, looks_like_name: object) -> Said | None:
    subject = next(iter(name_runs(sentence, looks_like_name)), None)  # type: ignore[arg-type]
    number = next((one.written for one in find_numbers(sentence) if one.exact), None)
    if subject is None or number is None or " ".join(subject) not in sentence or number not in sentence:
        return None
    return Said(sentence, " ".join(subject), number, Facts(sentence))


def _is_held(said: Said, everything: Facts) -> bool:
    names = {word.lower() for word in fold(said.subject).split()}
    (number, *_) = (one for one in find_numbers(said.sentence) if one.written == said.number)
    return names <= everything.words and number.known_by(everything.values)


def _swapped(
    said: Said, others: Sequence[Said], text: tuple[Facts, ...], kind: str, draw: random.Random
) -> Iterator[Case]:
    """The sentence with another one's number, and with another one's subject."""
    mine = {word.lower() for word in fold(said.subject).split()}
    (my_number, *_) = (one for one in find_numbers(said.sentence) if one.written == said.number)
    far = [
        one
        for one in others
        if not mine & one.facts.words
        and not my_number.known_by(one.facts.values)
        and not {word.lower() for word in fold(one.subject).split()} & said.facts.words
        and not {*find_values(one.number)} & said.facts.values
    ]
    if not far:
        return
    other = draw.choice(far)
    number = said.sentence.replace(said.number, other.number, 1)
    yield Case(number, text, f"{kind}, number", wrong=True)
    yield Case(said.sentence.replace(said.subject, other.subject, 1), text, f"{kind}, name", wrong=True)


def find_values(number: str) -> Iterator[object]:
    """What a number may stand for."""
    for one in find_numbers(number):
        yield from one.values


def _even(cases: Sequence[Case], count: int, draw: random.Random, *, wrong: bool) -> list[Case]:
    """So many cases, of each kind as many as there are and the others leave room for."""
    kinds: dict[str, list[Case]] = {}
    for case in cases:
        if case.wrong == wrong:
            kinds.setdefault(case.kind, []).append(case)
    chosen: list[Case] = []
    for left, some in zip(range(len(kinds), 0, -1), sorted(kinds.values(), key=len)):
        chosen += draw.sample(some, min(len(some), (count - len(chosen)) // left))
    return chosen


def _row(rule: Rule, cases: Sequence[Case], warned: Sequence[bool]) -> str:
    found = sum(one for one, case in zip(warned, cases) if case.wrong)
    false = sum(one for one, case in zip(warned, cases) if not case.wrong)
    wrong = sum(case.wrong for case in cases)
    shares = {}
    for kind in ("document", "summary", *_KINDS):
        some = [one for one, case in zip(warned, cases) if case.kind == kind]
        shares[kind] = f"{sum(some)} of {len(some)}"
    kinds = "; ".join(f"{kind} {shares[kind]}" for kind in _KINDS)
    names = "any" if rule.any_name else "first"
    return (
        f"| {rule.back} | {names} | {found / max(found + false, 1):.3f} | {found / max(wrong, 1):.3f} "
        f"| {shares['document']} | {shares['summary']} | {kinds} |"
    )


if __name__ == "__main__":
    main()
