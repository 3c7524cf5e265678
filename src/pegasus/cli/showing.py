"""What `pegasus inspect` shows of each kind of thing, as lines and tables in colour."""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text as StyledText

from pegasus.backends.packed.folder import load_packed
from pegasus.checkpoint.comparison import compare
from pegasus.checkpoint.files import is_packed
from pegasus.checkpoint.formats import open_checkpoint
from pegasus.cli.exits import visible
from pegasus.data.display import ShownPiece, shown_pieces
from pegasus.data.gap import GapSettings
from pegasus.data.mask import Symbols, WordMasking
from pegasus.data.pretraining import (
    Made,
    PretrainingSettings,
    make_example,
    text_example as make_text_example,
)
from pegasus.data.read import read_documents
from pegasus.data.shards import TOKENIZER, Shards
from pegasus.errors import BadSetting, CheckpointCorrupt
from pegasus.hub import locate
from pegasus.spec.config import PegasusConfig
from pegasus.spec.files import read_object
from pegasus.spec.parameters import copies, optional, parameters
from pegasus.tokenization.auto import AutoTokenizer
from pegasus.training.checkpoints import verify
from pegasus.training.journal import read_journal

_MASKS = ("sentence mask", "word mask")
TAKEN, MASKED, HIDDEN, QUIET = "bold yellow", "bold magenta", "bold cyan", "dim"
_SHAPE = (
    *("vocab_size", "d_model", "encoder_layers", "decoder_layers", "encoder_attention_heads"),
    *("encoder_ffn_dim", "decoder_ffn_dim", "activation_function", "scale_embedding", "dropout"),
    *("max_position_embeddings", "position_table", "layer_norm_eps"),
)


class Text(StyledText):
    """Text of files and configurations: nothing in it moves the cursor, or is taken for markup."""

    def __init__(self, text: str = "", style: str = "") -> None:
        super().__init__(visible(text), style)

    def append(self, text: Any, style: Any = None) -> StyledText:
        """Add a text."""
        return super().append(visible(text) if isinstance(text, str) else text, style)


# -- checkpoints ---------------------------------------------------------------------------------------


def checkpoint(name: str) -> Iterator[Any]:
    """A model: its configuration, its parameters by part, and what its files lack or have besides."""
    folder = locate(name)
    config = PegasusConfig.from_pretrained(folder)
    yield Text(f"{name}: {', '.join(config.architectures or ['a PEGASUS model'])}", style="bold")
    yield _pairs({key: getattr(config, key) for key in _SHAPE})
    generation = folder / "generation_config.json"
    if generation.is_file():
        stated = read_object(generation)
        yield _pairs({key: value for key, value in stated.items() if not key.startswith("_")})
    if is_packed(folder):
        packed = load_packed(folder)
        yield Text(f"packed as {packed.kind}: {packed.nbytes / 1e6:,.0f} MB, every hash matches")
        return
    expected = parameters(config, "conditional")
    sizes: Counter[str] = Counter()
    for leaf in expected.values():
        if leaf.kind not in ("positions", "logits_bias"):
            sizes[_part(leaf.name)] += math.prod(leaf.shape)
    table = _table("part", "parameters")
    for part, size in [*sizes.items(), ("all", sum(sizes.values()))]:
        table.add_row(part, f"{size:,}")
    yield table
    yield from _fit(folder, config, expected)


def _part(name: str) -> str:
    words = name.removeprefix("model.").split(".")
    return f"{words[0]} layers" if "layers" in words else ".".join(words[:-1])


def _fit(folder: Path, config: PegasusConfig, expected: Mapping[str, Any]) -> Iterator[Text]:
    weights = open_checkpoint(folder)
    size = sum(tensor.data.nbytes for tensor in weights.tensors.values())
    types = Counter(tensor.dtype for tensor in weights.tensors.values())
    kinds = ", ".join(f"{count} of {dtype}" for dtype, count in types.items())
    yield Text(f"{len(weights.files)} file(s) of {weights.format}, {size:,} bytes of tensors: {kinds}")
    missing = [n for n, leaf in expected.items() if n not in weights.tensors and not optional(leaf)]
    besides = sorted(set(weights.tensors) - set(expected) - set(copies(config, "conditional")))
    if not missing and not besides:
        yield Text("every parameter is there, and nothing else", style="green")
    for words, names in (("missing", missing), ("besides", besides)):
        if names:
            yield Text(f"{words}: {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}", style="red")


# -- runs ----------------------------------------------------------------------------------------------


def comparison(student: str, teacher: str) -> Iterator[Any]:
    """Which parts of a student are those of its teacher, and how far the others are from the likest one."""
    yield Text(f"{student} beside {teacher}", "bold")
    table = _table("student", "likest in the teacher", "equal tensors", "distance")
    total = copied = 0
    for one in compare(locate(student), locate(teacher)):
        total, copied = total + one.tensors, copied + one.equal
        source = Text(one.source) if one.source else Text("none of its shape", QUIET)
        distance = "" if math.isnan(one.distance) else f"{one.distance:.4f}"
        table.add_row(Text(one.part), source, Text(f"{one.equal} of {one.tensors}"), Text(distance))
    yield table
    yield Text(f"{copied} of {total} tensors are the teacher's, bit by bit")


def run_checkpoint(folder: Path) -> Iterator[Any]:
    """A checkpoint of a run: whether it is whole, and where the run stood."""
    try:
        manifest = verify(folder)
    except CheckpointCorrupt as problem:
        yield Text(f"{problem}: a run goes on from the checkpoint before it", style="red")
        return
    yield Text(f"{folder}: whole, every checksum fits", style="green")
    yield _pairs({key: manifest[key] for key in ("step", "processes")})
    table = _table("file", "bytes", "sha256")
    for name, facts in manifest["files"].items():
        table.add_row(Text(name), f"{facts['bytes']:,}", facts["sha256"][:16])
    yield table
    yield Text((folder / "state.json").read_text(encoding="utf-8"), style=QUIET)


def training_run(folder: Path) -> Iterator[Any]:
    """A run: its job, how its loss went, its checkpoints."""
    yield Text((folder / "job.toml").read_text(encoding="utf-8"), style=QUIET)
    events = read_journal(folder / "journal.jsonl") if (folder / "journal.jsonl").is_file() else []
    for kind in ("train", "validation", "evaluation"):
        chosen = [event for event in events if event["event"] == kind]
        if not chosen:
            continue
        names = [name for name in chosen[-1] if name not in ("event", "time")]
        table = _table(*names)
        for event in chosen[:: max(1, len(chosen) // 10)][-10:]:
            table.add_row(*(_number(event.get(name)) for name in names))
        yield Text(kind, style="bold")
        yield table
    for place in sorted((folder / "checkpoints").glob("step-*")):
        yield from list(run_checkpoint(place))[:1]


# -- examples ------------------------------------------------------------------------------------------


def shards(folder: Path, arguments: argparse.Namespace) -> Iterator[Any]:
    """A prepared corpus: what it holds, and one of its documents as an example."""
    corpus = Shards(folder)
    yield Text(
        f"{folder}: {len(corpus):,} documents in {len(corpus.manifest.shards)} file(s)", style="bold"
    )
    yield _pairs(corpus.manifest.settings)
    yield _pairs(corpus.manifest.statistics)
    if not 0 <= arguments.row < len(corpus):
        raise BadSetting(
            f"--row {arguments.row} is not there: the corpus has documents 0 to {len(corpus) - 1}"
        )
    tokenizer = AutoTokenizer.from_pretrained(folder / TOKENIZER)
    ids, scores = corpus.document(arguments.row)
    settings = _settings(arguments, str(corpus.manifest.settings.get("strategy", "ind-orig")))
    rng = np.random.default_rng(arguments.seed)
    made = make_example(ids, settings, Symbols.of(tokenizer), rng, scores=scores)
    yield from _example([_decoded(tokenizer, sentence) for sentence in ids], made, tokenizer, scores)


def text_example(file: Path, arguments: argparse.Namespace) -> Iterator[Any]:
    """A text, or the first of a file that holds several, as an example."""
    document = next(read_documents([file]))
    tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer)
    settings = _settings(arguments, "ind-orig")
    rng = np.random.default_rng(arguments.seed)
    prepared, made = make_text_example(document.text, tokenizer, settings, rng)
    yield from _example(prepared.sentences, made, tokenizer, prepared.scores)


def _settings(arguments: argparse.Namespace, strategy: str) -> PretrainingSettings:
    gap = GapSettings(strategy=arguments.strategy or strategy, ratio=arguments.ratio)
    return PretrainingSettings(gap=gap, words=WordMasking(ratio=arguments.mlm))


def _example(sentences: Sequence[str], made: Made, tokenizer: Any, scores: Any) -> Iterator[Any]:
    chosen = dict(zip(made.choice.sentences.tolist(), made.fates))
    yield Text("\nbefore: gap sentences in yellow, with their score and their fate", style="bold")
    document = Text()
    for number, sentence in enumerate(sentences):
        style = TAKEN if number in chosen else ""
        score = "" if scores is None else f" {float(scores[number]):.3f}"
        note = f"{chosen[number]}{score}" if number in chosen else score.strip()
        document.append(f"[{number}{' ' if note else ''}{note}] ", style=QUIET)
        document.append(" ".join(sentence.split()) + "\n", style=style)
    yield document
    if made.example is None:
        yield Text("the target is too short: this document is left out", style="red")
        return
    example = made.example
    assert example.input_ids is not None
    yield Text("the model reads: masks in magenta, hidden words in cyan", style="bold")
    yield _coloured(shown_pieces(example, tokenizer, Symbols.of(tokenizer)))
    yield Text("\nand writes", style="bold")
    yield Text(_decoded(tokenizer, example.labels), style=TAKEN)
    yield Text(f"\n{len(example.input_ids)} tokens read, {len(example.labels)} written", style=QUIET)


def _coloured(pieces: Iterable[ShownPiece]) -> Text:
    """The input, piece by piece; beside each hidden one, in brackets, what it was."""
    line = Text()
    for piece in pieces:
        if piece.hidden is not None:
            line.append(_spaced(piece.token), style=HIDDEN)
            line.append(f"[{_spaced(piece.hidden).strip()}]", style=QUIET)
        else:
            line.append(_spaced(piece.token), style=MASKED if piece.role in _MASKS else "")
    return line


def _spaced(token: str) -> str:
    return token.replace("\N{LOWER ONE EIGHTH BLOCK}", " ")


def _decoded(tokenizer: Any, ids: Iterable[int]) -> str:
    return str(tokenizer.decode([int(number) for number in ids]))


# -- forms ---------------------------------------------------------------------------------------------


def _table(*heads: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style=QUIET)
    for head in heads:
        table.add_column(Text(head), justify="right" if head in ("parameters", "bytes") else "left")
    return table


def _pairs(values: Mapping[str, Any]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    for key, value in values.items():
        table.add_row(Text(str(key), style=QUIET), _number(value))
    return table


def _number(value: Any) -> Text:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Text(str(value))
    return Text(f"{value:,}" if isinstance(value, int) else f"{value:.5g}")
