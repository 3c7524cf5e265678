"""Checkpoints that are not what was saved: fields of other types and sizes, and bytes that flipped."""

from __future__ import annotations

import json
import random
import shutil
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fuzz.running import Case
from fuzz.values import absurd, change, nested, places, remove

ROOT = Path(__file__).resolve().parents[2]
SMALL = ROOT / "tests" / "fixtures" / "tokenizer-small" / "spiece.model"
SHAPE = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "max_position_embeddings": 64,
}
JSON_FILES = ("config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json")
TEXT = "The mayor of a small town said that no new houses will be built near the old river this year."
#: What an attacker, or a colleague, may add: names of methods, and fields that other versions have.
ADDED = (
    "self",
    "validate",
    "to_dict",
    "kwargs",
    "config",
    "name_or_path",
    "auto_map",
    "torch_dtype",
    "num_labels",
    "id2label",
    "sp_model_kwargs",
    "offset",
    "added_tokens_decoder",
    "vocab_file",
    "tokenizer_file",
    "newline",
    "vocabulary",
    "layout",
    "settings",
    "additional_special_tokens",
    "quantization_config",
    "layer_norm_eps",
    "position_table",
    "forced_eos_token_id",
    "suppress_tokens",
    "bad_words_ids",
    "sequence_bias",
    "num_beams",
    "max_length",
    "max_new_tokens",
    "constraints",
    "temperature",
    "stop_strings",
    "seed",
    "pruned_heads",
)


def prepare(folder: Path) -> Path:
    """A tiny model with a tokenizer, and beside it the same one packed."""
    import torch

    from pegasus import PegasusConfig, PegasusForConditionalGeneration, PegasusTokenizerFast
    from pegasus.cli.app import main

    tokenizer = PegasusTokenizerFast(str(SMALL), model_max_length=64)
    torch.manual_seed(0)
    model = PegasusForConditionalGeneration(PegasusConfig(vocab_size=len(tokenizer), **SHAPE))
    model.generation_config.max_length = 12
    model.save_pretrained(folder / "plain")
    tokenizer.save_pretrained(folder / "plain")
    assert main(["pack", "--quiet", str(folder / "plain"), "-o", str(folder / "packed")]) == 0
    return folder


def case(chance: random.Random, source: Path, place: Path) -> Case:
    """A fresh copy of a checkpoint, changed, and opened in some way.

    Args:
        chance: draws all of it.
        source: what ``prepare`` made.
        place: a folder to work in.
    """
    packed = chance.random() < 0.2
    folder = place / "changed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source / ("packed" if packed else "plain"), folder)
    told = [chance.choice(_CHANGES)(chance, folder) for _ in range(chance.choice((1, 1, 1, 2, 3)))]
    name, use = chance.choice(_USES[:3] if packed else _USES)
    return Case(f"{'packed' if packed else 'plain'}: {'; '.join(told)}; {name}", partial(use, folder))


def _change_field(chance: random.Random, folder: Path) -> str:
    path = folder / chance.choice(JSON_FILES)
    if not path.is_file():
        return "nothing"
    try:
        values = json.loads(path.read_text())
    except (ValueError, RecursionError):  # changed already
        return "nothing"
    if not isinstance(values, dict):
        return "nothing"
    way = chance.randrange(6)
    known = places(values)
    if way == 0 or not known:
        values[chance.choice(ADDED)] = value = absurd(chance)
        told = f"{path.name} gets {list(values)[-1]} = {value!r:.60}"
    elif way == 1:
        spot = chance.choice(known)
        remove(values, spot)
        told = f"{path.name} loses {spot}"
    else:
        spot, value = chance.choice(known), absurd(chance)
        change(values, spot, value)
        told = f"{path.name} has {spot} = {value!r:.60}"
    path.write_text(json.dumps(values), encoding="utf-8")
    return told


def _replace_file(chance: random.Random, folder: Path) -> str:
    path = chance.choice(sorted(path for path in folder.glob("*.json") if path.is_file()))
    content = chance.choice(
        (
            nested(10**5),
            nested(200),
            '{"a": ' * 50 + "1" + "}" * 50,
            "",
            "null",
            "[]",
            "{}",
            "7",
            '"x"',
            "\x00" * 20,
        )
    )
    path.write_text(content)
    return f"{path.name} is {content[:20]!r}"


def _flip_bytes(chance: random.Random, folder: Path) -> str:
    path = chance.choice(sorted(path for path in folder.iterdir() if path.is_file()))
    content = bytearray(path.read_bytes())
    # The header more often than the weights.
    end = min(len(content), chance.choice((16, 400, 4000, len(content))))
    spots = [chance.randrange(end) for _ in range(chance.choice((1, 1, 2, 8, 64)))] if end else []
    for spot in spots:
        content[spot] = chance.choice(
            (content[spot] ^ 1 << chance.randrange(8), 0, 255, chance.randrange(256))
        )
    path.write_bytes(bytes(content))
    return f"{path.name} has other bytes at {spots[:4]}"


def _cut(chance: random.Random, folder: Path) -> str:
    path = chance.choice(sorted(path for path in folder.iterdir() if path.is_file()))
    content = path.read_bytes()
    kept = chance.choice((0, 1, 7, 8, 100, len(content) // 2, len(content) - 1))
    path.write_bytes(content[:kept])
    return f"{path.name} ends after {kept} bytes"


def _take_away(chance: random.Random, folder: Path) -> str:
    path = chance.choice(sorted(folder.iterdir()))
    if path.is_dir():
        return "nothing"
    path.unlink()
    if chance.random() < 0.3:
        path.mkdir()
        return f"{path.name} is a folder"
    return f"{path.name} is missing"


def _change_header(chance: random.Random, folder: Path) -> str:
    """A field of the JSON in front of the tensors, its length put right."""
    path = next(iter(sorted(folder.glob("*.safetensors"))), None)
    if path is None or not path.is_file():
        return "nothing"
    content = path.read_bytes()
    if len(content) < 8 or (size := struct.unpack("<Q", content[:8])[0]) > len(content):
        return "nothing"
    try:
        values: Any = json.loads(content[8 : 8 + size])
    except ValueError:
        return "nothing"
    if not places(values):
        return "nothing"
    spot, value = chance.choice(places(values)), absurd(chance)
    change(values, spot, value)
    header = json.dumps(values).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + content[8 + size :])
    return f"{path.name} says {spot} = {value!r:.60}"


def _change_numbers(chance: random.Random, folder: Path) -> str:
    """Weights that are no numbers, or huge."""
    path = next(iter(sorted(folder.glob("model.safetensors"))), None)
    if path is None or not path.is_file():
        return "nothing"
    content = bytearray(path.read_bytes())
    value = chance.choice((float("nan"), float("inf"), 3e38, -3e38, 1e20))
    start = len(content) - 4 * chance.choice((1, 16, 256, 1000))
    for spot in range(start, min(start + 4 * chance.choice((1, 16, 256)), len(content)), 4):
        content[spot : spot + 4] = struct.pack("<f", value)
    path.write_bytes(bytes(content))
    return f"{path.name} holds {value} from byte {start}"


_CHANGES: tuple[Callable[[random.Random, Path], str], ...] = (
    *[_change_field] * 8,
    _replace_file,
    _flip_bytes,
    _flip_bytes,
    _cut,
    _take_away,
    _change_header,
    _change_numbers,
)


def _summarize(folder: Path) -> int:
    from pegasus.cli.app import main

    text = folder.parent / "text.txt"
    text.write_text(TEXT)
    return main(["summarize", "--model", str(folder), "--threads", "1", str(text)])


def _inspect(folder: Path) -> int:
    from pegasus.cli.app import main

    return main(["inspect", str(folder)])


def _open_tokenizers(folder: Path) -> None:
    from pegasus import AutoTokenizer

    for fast in (True, False):
        tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=fast)
        ids = tokenizer([TEXT, "a"], padding=True, truncation=True)["input_ids"]
        tokenizer.batch_decode(ids, skip_special_tokens=True)
        tokenizer.save_pretrained(folder.parent / "again")


def _generate(folder: Path) -> None:
    import torch

    from pegasus import PegasusForConditionalGeneration

    model = PegasusForConditionalGeneration.from_pretrained(folder)
    model.generate(input_ids=torch.tensor([[200, 150, 1]]), max_new_tokens=4)
    model.save_pretrained(folder.parent / "again")


def _pack(folder: Path) -> int:
    from pegasus.cli.app import main

    return main(["pack", "--quiet", str(folder), "-o", str(folder.parent / "again-packed")])


_USES: tuple[tuple[str, Callable[[Path], int | None]], ...] = (
    ("summarize", _summarize),
    ("inspect", _inspect),
    ("tokenizers", _open_tokenizers),
    ("generate", _generate),
    ("pack", _pack),
)
