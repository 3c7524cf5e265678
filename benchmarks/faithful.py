r"""What does faithful decoding prevent, and what does it cost in ROUGE? Every test row, three settings.

    scripts/bench faithful --model pegasus-mini --data ../shared/data --output out/mini
    scripts/bench faithful --random ../shared/vocab/pegasus-96k --rows 40 --data ../shared/data \
        --output out/random

Each output is looked through by rules of its own (`benchmarks/held.py`), which share nothing with the code
that decodes. A run that was interrupted goes on from what stands in the output folder, and one whose rows
are all there opens no model. `--write-only` leaves the report to a later call; `--english` names a list of
words, one a line, beside which misspelled ones are counted: what neither the source nor that list has.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from held import Held, misspelled

from pegasus import Summarizer, Summary
from pegasus.data.read import read_pairs
from pegasus.errors import PegasusError
from pegasus.evaluation.rouge import resampled_means, score_rows
from pegasus.hub import locate

SETS = "senate_headline scitldr gov_blog pubmedqa gumsum wiki_lead"
MODES = ("off", "words", "names")
_KINDS = ("rouge1", "rouge2", "rougeL")
_FOUND = ("number", "name", "word", "any", "misspelled")
_BATCH = 48


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="pegasus-mini", help="a folder or a name")
    parser.add_argument(
        "--random", type=Path, metavar="VOCABULARY", help="a random model of this vocabulary"
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder of the sets")
    parser.add_argument("--sets", nargs="+", default=SETS.split())
    parser.add_argument("--modes", nargs="+", default=MODES)
    parser.add_argument("--rows", type=int, default=0, help="of each set; 0: all")
    parser.add_argument("--list", type=Path, help="common words; default: those of the bundled model")
    parser.add_argument("--english", type=Path, help="words of the language, against misspelled ones")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="auto", help="as for pegasus summarize")
    parser.add_argument("--write-only", action="store_true")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--show", type=int, default=0, help="so many of what was found")
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    listed = asked.list or locate("pegasus-mini") / "common_words.txt"
    summarizer = _Late(asked, listed)
    common = frozenset(listed.read_text(encoding="utf-8").split())
    english = frozenset(asked.english.read_text(encoding="utf-8").split()) if asked.english else None
    for name in asked.sets:
        pairs = list(islice(read_pairs([asked.data / name / "test.jsonl.xz"]), asked.rows or None))
        written = {
            mode: _write(summarizer, pairs, mode, asked.output / f"{name}.{mode}.jsonl")
            for mode in asked.modes
        }
        if asked.write_only:
            continue
        for line in _report(name, pairs, written, _Judge(common, english), asked.show):
            print(line, flush=True)


class _Late:
    """A summarizer that is opened when it is first needed.

    Args:
        asked: what the command was told.
        listed: the common words.
    """

    def __init__(self, asked: argparse.Namespace, listed: Path) -> None:
        self.asked, self.listed = asked, listed

    @cached_property
    def opened(self) -> Summarizer:
        """The summarizer."""
        asked = self.asked
        folder = _random(asked, self.listed) if asked.random else _with_list(asked, self.listed)
        return Summarizer.from_pretrained(folder, device="cpu", threads=asked.threads, dtype=asked.dtype)


def _with_list(asked: argparse.Namespace, listed: Path) -> Path:
    """The checkpoint, with the list beside it if it has none: links to its files."""
    folder = locate(asked.model)
    if (folder / "common_words.txt").is_file():
        return folder
    linked = asked.output / "model"
    linked.mkdir(exist_ok=True)
    for file in folder.iterdir():
        if not (linked / file.name).exists():
            (linked / file.name).symlink_to(file.resolve())
    shutil.copy(listed, linked / "common_words.txt")
    return linked


def _random(asked: argparse.Namespace, listed: Path) -> Path:
    """A model of random weights, so wide that its outputs are anything at all."""
    folder: Path = asked.output / "model"
    if (folder / "model.safetensors").is_file():
        return folder
    import torch

    from pegasus import PegasusConfig, PegasusForConditionalGeneration, PegasusTokenizerFast

    tokenizer = PegasusTokenizerFast.from_pretrained(asked.random)
    torch.manual_seed(1)
    config = PegasusConfig(
        vocab_size=len(tokenizer), d_model=32, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=32,
        decoder_ffn_dim=32, encoder_attention_heads=2, decoder_attention_heads=2,
        max_position_embeddings=512, max_length=32, num_beams=4, init_std=0.5, scale_embedding=True,
    )  # fmt: skip
    PegasusForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    shutil.copy(listed, folder / "common_words.txt")
    return folder


def _write(summarizer: _Late, pairs: Sequence[Any], mode: str, file: Path) -> list[dict[str, Any]]:
    """The outputs of one setting, of which some may stand in the file already."""
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    with file.open("a", encoding="utf-8") as out:
        for start in range(len(rows), len(pairs), _BATCH):
            texts = [pair.document for pair in pairs[start : start + _BATCH]]
            for end in summarizer.opened.attempt(texts, faithful=mode, long="truncate", check=False):
                row = {"text": getattr(end, "text", ""), "prevented": getattr(end, "prevented", 0)}
                row |= _ending(end)
                out.write(json.dumps(row) + "\n")
                rows.append(row)
            out.flush()
    return rows[: len(pairs)]


def _ending(end: Summary | PegasusError) -> dict[str, Any]:
    if isinstance(end, Exception):
        return {"error": str(end)}
    return {"cut": end.cut, "finish": end.finish_reason}


@dataclass(frozen=True)
class _Judge:
    """What outputs are held against beside their source.

    Attributes:
        common: the list of common words.
        english: the words of the language; None: misspelled ones are not counted.
    """

    common: frozenset[str]
    english: frozenset[str] | None


def _report(
    name: str,
    pairs: Sequence[Any],
    written: dict[str, list[dict[str, Any]]],
    judge: _Judge,
    show: int,
) -> Iterator[str]:
    references = [pair.summaries for pair in pairs]
    base: np.ndarray | None = None
    for mode, rows in written.items():
        texts = [row["text"] for row in rows]
        counts, found = _count(pairs, texts, judge, free=mode == "names")
        table = np.array([[row[kind] for kind in _KINDS] for row in score_rows(texts, references)]) * 100
        line = f"| {name} | {mode} | {len(rows)} | {np.mean([len(text.split()) for text in texts]):.1f} | "
        line += " | ".join(f"{100 * counts[kind] / len(rows):.1f}" for kind in _FOUND)
        if base is None:
            base, shown = table, [f"{mean:.1f}" for mean in table.mean(0)]
        else:
            low, high = np.percentile(resampled_means(table - base), (2.5, 97.5), axis=0)
            mid = (table - base).mean(0)
            shown = [f"{m:+.2f} ({a:+.2f} to {b:+.2f})" for m, a, b in zip(mid, low, high)]
        held = sum(row["prevented"] > 0 for row in rows)
        unchanged = [
            row["text"] == off["text"] for row, off in zip(rows, written["off"]) if not row["prevented"]
        ]
        yield f"{line} | {' | '.join(shown)} | {held} | {sum(unchanged)} of {len(unchanged)} |"
        if mode != "off" or show < 0:
            yield from (f"    {one}" for one in found[: abs(show)])


def _count(
    pairs: Sequence[Any], texts: Sequence[str], judge: _Judge, *, free: bool
) -> tuple[Counter[str], list[str]]:
    """How many outputs hold what their source does not, by kind; and what that was."""
    counts: Counter[str] = Counter()
    found = []
    for index, (pair, text) in enumerate(zip(pairs, texts)):
        strange = Held(pair.document, judge.common, free=free).strange(text)
        kinds = {kind for kind, _ in strange}
        counts.update(kinds | ({"any"} if kinds else set()))
        if judge.english is not None and (wrong := misspelled(text, pair.document, judge.english)):
            counts["misspelled"] += 1
            strange += [("misspelled", word) for word in wrong]
        found += [f"{index}: {strange} in {text!r}"] if strange else []
    return counts, found


if __name__ == "__main__":
    main()
