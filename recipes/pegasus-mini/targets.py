"""Targets of the second edition: up to three sentences that a source bears out, from more kinds of text."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pairs import Known, Pairs, borne_out, nearest, seen, subject, subjects
from passages import encode, independent_scores, read, sentences
from risk import words_of
from sentencepiece import SentencePieceProcessor

Row = tuple[str, str, str]
"""A source, its target, and the human summary that the target was made of ("" where there is none)."""
EOS = 1
_LEAST_SENTENCES, _LEAST_WORDS = 5, 60


class Targets:
    """Makes the rows of every set.

    Args:
        data: the data pack.
        pieces: the vocabulary.
        settings: the section [targets].
    """

    def __init__(self, data: Path, pieces: SentencePieceProcessor, settings: Mapping[str, Any]) -> None:
        self.data, self.pieces, self.settings = data, pieces, settings
        self.rng = random.Random(settings["seed"])
        held = [data / "wiki_lead" / f"{split}.jsonl.xz" for split in ("validation", "test")]
        self.forbidden = subjects(held)

    def rows(self) -> dict[str, list[Row]]:
        """The rows of each set, by its name."""
        found: dict[str, list[Row]] = {}
        for name, how in self.settings["supervised"].items():
            for kind, row in self.supervised(name, *how):
                found.setdefault(kind, []).append(row)
        for name, (files, share, keep) in self.settings["openings"].items():
            found[name] = [row for file in files for row in self.openings(file, share, keep)]
        files = self.settings["passages"].items()
        found["passages"] = [row for file, share in files for row in self.passages(file, share)]
        return found

    def supervised(
        self, name: str, most: int, coverage: float, pick: bool, extracted: int
    ) -> Iterator[tuple[str, Row]]:
        """Rows of one training split: what is borne out of a human summary, and what is most like it.

        Args:
            name: the set.
            most: sentences of a target.
            coverage: of a sentence's content words that the source must hold.
            pick: whether the nearest sentence stands in where nothing is borne out.
            extracted: of how many sentences of the source an extracted target may be; 0: of none.
        """
        settings = {**self.settings, "coverage": coverage}
        for record in read(self.data / name / "train.jsonl.xz"):
            document = _flat(str(record["document"])[: settings["characters"]])
            parts = seen(sentences(document), self.pieces, settings)
            summaries = [_flat(str(one)) for one in record.get("summaries") or [record["summary"]]]
            if not parts:
                continue
            for summary in summaries[:3]:
                target = self._borne_out(name, summary, parts, settings, most)
                target = target or (nearest(parts, summary, settings) if pick else "")
                if len(words_of(target)) >= 3:
                    yield name, (document, target, summary)
            target = self.extracted(parts, summaries[0], extracted)
            if target:
                yield "extracted", (document, target, summaries[0])

    def _borne_out(
        self, name: str, summary: str, parts: list[str], settings: Mapping[str, Any], most: int
    ) -> str:
        known = Known(" ".join(parts))
        if name not in settings["anywhere"]["sets"]:
            return borne_out(summary, known, self.pieces, settings, most)
        kept: list[str] = []
        for sentence in sentences(summary):
            sentence = known.trim(sentence)
            fits = len(self.pieces.encode(" ".join([*kept, sentence]))) < settings["target_tokens"]
            if len(kept) < most and fits and known.bears_out(sentence, settings["coverage"]):
                kept.append(sentence)
        return " ".join(kept)

    def extracted(self, parts: Sequence[str], summary: str, most: int) -> str:
        """Sentences that together share most with a summary, added while they gain, in text order."""
        wanted, tokens = words_of(summary), [words_of(part) for part in parts]
        chosen: list[int] = []
        best = 0.0
        while len(chosen) < most:
            offers = [
                (_likeness([word for k in sorted([*chosen, i]) for word in tokens[k]], wanted), -i)
                for i in range(len(parts))
                if i not in chosen and tokens[i] and not parts[i].endswith("?")
            ]
            top, place = max(offers, default=(0.0, 0))
            if top <= best + 0.01:
                break
            best, chosen = top, [*chosen, -place]
        text = " ".join(parts[place] for place in sorted(chosen))
        fits = len(self.pieces.encode(text)) < self.settings["target_tokens"]
        return text if best > self.settings["likeness"] and fits else ""

    def openings(self, file: str, share: float, keep: float) -> Iterator[Row]:
        """Openings of documents as targets of what follows them; a share ``keep`` stays in its source."""
        encyclopaedia = "wikipedia" in file
        settings = {**self.settings, "coverage": 0.55}
        most = self.rng.choice([2, 3])
        for record in read(self.data / "pretrain" / f"{file}.jsonl.xz"):
            later = file.startswith("wikipedia-") and not str(record["id"]).endswith("/0")
            if later or self.rng.random() >= share:
                continue
            text = str(record["text"])[: settings["characters"]]
            first, *others = [line for line in text.split("\n") if len(line.split()) > 8] or [""]
            if not first or subject(first) in self.forbidden:
                continue
            whole = encyclopaedia and bool(others)
            lead = sentences(first)
            opening, body = (first, others) if whole else (lead[0], [*lead[1:], *others])
            parts = seen(sentences(_flat(" ".join(body))), self.pieces, settings)
            if sum(len(part.split()) for part in parts) < _LEAST_WORDS:
                continue
            target = borne_out(opening, Known(" ".join(parts)), self.pieces, settings, most if whole else 1)
            if len(target.split()) >= 6:
                yield (_flat(text) if self.rng.random() < keep else _flat(" ".join(parts))), target, ""

    def passages(self, file: str, share: float) -> Iterator[Row]:
        """Passages of 120 to 500 tokens and their best one to three sentences."""
        limit_of_target = self.settings["target_tokens"] - 1
        for record in read(self.data / "pretrain" / f"{file}.jsonl.xz"):
            if self.rng.random() >= share:
                continue
            document = sentences(_flat(str(record["text"])[:12_000]))
            sizes = [len(row) for row in self.pieces.encode(document)]
            inside = self.rng.random() < 0.5
            start = self.rng.randrange(max(1, len(document) - 5)) if inside else 0
            limit, stop, total = self.rng.randint(120, 500), start, 0
            while stop < len(document) and total + sizes[stop] < limit:
                total, stop = total + sizes[stop], stop + 1
            parts = document[start:stop]
            if len(parts) < _LEAST_SENTENCES:
                continue
            rated = np.array(independent_scores(parts)) * self.settings["fall"] ** np.arange(len(parts))
            count, left, chosen = self.rng.choice([1, 1, 2, 2, 3]), limit_of_target, list[int]()
            for place in np.argsort(-rated, kind="stable").tolist():
                size = sizes[start + place]
                if len(chosen) < count and size <= left and not parts[place].endswith("?"):
                    chosen, left = [*chosen, place], left - size
            if chosen:
                yield " ".join(parts), " ".join(parts[place] for place in sorted(chosen)), ""


def save(
    rows: Mapping[str, Sequence[Row]], folder: Path, pieces: SentencePieceProcessor, most: int
) -> None:
    """Write each set as ids with the human summaries beside them; longer targets are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, some in rows.items():
        sources, targets = (encode(pieces, [row[column] for row in some]) for column in (0, 1))
        kept = [place for place, target in enumerate(targets) if len(target) < most]
        parts = [
            np.append(ids, EOS) for place in kept for ids in (sources[place][: 512 - 2], targets[place])
        ]
        Pairs(np.concatenate(parts).astype(np.uint16), np.cumsum([len(part) for part in parts])).save(
            folder / f"{name}.npz"
        )
        summaries = [some[place][2] for place in kept]
        (folder / f"{name}.json").write_text(json.dumps(summaries, ensure_ascii=False), encoding="utf-8")


def common_words(data: Path, least: int = 4) -> list[str]:
    """Words that the pre-training text writes in small letters so often, in every other document."""
    counts: Counter[str] = Counter()
    for file in sorted((data / "pretrain").glob("*.jsonl.xz")):
        for number, record in enumerate(read(file)):
            if number % 2 == 0:
                counts.update(word for word in words_of(str(record["text"]), lower=False) if word.islower())
    return sorted(word for word, count in counts.items() if count >= least)


def _flat(text: str) -> str:
    return " ".join(text.split())


def _likeness(words: list[str], wanted: list[str]) -> float:
    """ROUGE-1 F + ROUGE-2 F."""
    total = 0.0
    for size in (1, 2):
        one, other = (
            Counter(zip(*(some[k:] for k in range(size)), strict=False)) for some in (words, wanted)
        )
        length = len(words) + len(wanted) - 2 * (size - 1)
        total += 2 * sum((one & other).values()) / length if length > 0 else 0.0
    return total
