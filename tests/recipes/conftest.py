"""The recipe of pegasus-mini at a size of seconds: made-up text, a tiny model and a teacher of it."""

from __future__ import annotations

import importlib.util
import json
import lzma
import random
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "recipes" / "pegasus-mini"

TINY = """
base = "{base}"
data = "{data}"
[vocabulary]
pieces = 75
sample = 1.0
[model]
d_model = 32
encoder_layers = 1
decoder_layers = 1
encoder_attention_heads = 2
decoder_attention_heads = 2
encoder_ffn_dim = 64
decoder_ffn_dim = 64
activation_function = "relu"
scale_embedding = true
max_position_embeddings = 256
[teacher]
pretrain_steps = [6, 6]
[teacher.model]
d_model = 64
encoder_layers = 2
decoder_layers = 1
encoder_attention_heads = 2
decoder_attention_heads = 2
encoder_ffn_dim = 128
decoder_ffn_dim = 128
activation_function = "relu"
scale_embedding = true
max_position_embeddings = 256
[teacher.finetune]
steps = 30
batch = 16
alike = 2
[prepare]
passage_tokens = 200
[prepare.share]
"letters" = 1.0
"wikipedia-0" = 1.0
[pairs]
source_tokens = 220
coverage = 0.0
least_words = 20
supervised = ["wiki_lead"]
[pairs.openings]
articles = ["wikipedia-0"]
[finetune]
steps = 4
batch = 16
[finetune.share]
"wiki_lead" = 0.4
"articles" = 0.2
[pseudo]
sets = ["wiki_lead"]
passages = 24
part = 16
batch = 8
batch_tokens = 1024
[distill]
steps = 8
batch = 8
alike = 2
[distill.share]
"articles" = 0.2
"teacher/wiki_lead" = 0.2
"teacher/passages" = 0.3
[generation]
num_beams = 2
max_length = 64
min_length = 4
no_repeat_ngram_size = 3
decoder_start_token_id = 0
pad_token_id = 0
eos_token_id = 1
[evaluate]
sets = ["wiki_lead"]
"""
PART = """
[[pretrain]]
steps = 6
decay = 0.0
window = [100, 201]
batch = 8
alike = {alike}
matrix_rate = 0.02
vector_rate = 0.003
warmup_steps = 3
label_smoothing = 0.0
gap_ratio = [0.2, 0.4]
intact = 0.1
extract = 0.3
word_ratio = {hidden}
mlm_weight = 0.5
early = 0.0
source_tokens = 220
target_tokens = 80
"""


@pytest.fixture(scope="session")
def script() -> Iterator[ModuleType]:
    """scripts/train-mini as a module; the recipe's own modules can be imported while it is there."""
    before, threads = list(sys.path), torch.get_num_threads()
    torch.set_num_threads(1)  # models this small only wait for each other on more
    loader = SourceFileLoader("train_mini", str(ROOT / "scripts" / "train-mini"))
    spec = importlib.util.spec_from_loader("train_mini", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    yield module
    sys.path[:] = before
    for name in [file.stem for file in RECIPE.glob("*.py")]:
        sys.modules.pop(name, None)
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of settings on the base of gpu.toml, and made-up text beside it."""
    folder = tmp_path_factory.mktemp("recipe")
    parts = PART.format(alike=1, hidden=0.0) + PART.format(alike=2, hidden=0.2)
    file = folder / "tiny.toml"
    file.write_text(TINY.format(base=RECIPE / "gpu.toml", data=folder / "data") + parts)
    write_data(folder / "data")
    return file


@pytest.fixture(scope="session")
def train_mini(script: ModuleType, recipe: Path) -> Callable[..., int]:
    """Run the script with these words on the tiny recipe, and return its exit status."""

    def run(*words: object) -> int:
        try:
            script.main([*map(str, words), "--recipe", str(recipe), "--device", "cpu"])
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    return run


@pytest.fixture(scope="session")
def prepared(train_mini: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder with vocabulary, passages and pairs."""
    work = tmp_path_factory.mktemp("prepared")
    assert train_mini("vocabulary", "prepare", "pairs", "--work", work) == 0
    return work


def write_data(folder: Path) -> None:
    """Files as those of the data pack, with sentences of a few words."""
    rng = random.Random(0)
    for name in ("letters", "wikipedia-0"):
        rows = [{"id": f"{i}/0", "text": _text(rng)} for i in range(60)]
        _write(folder / "pretrain" / f"{name}.jsonl.xz", rows)
    for split in ("train", "validation", "test"):
        texts = [_text(rng) for _ in range(24)]
        rows = [{"id": i, "document": text, "summary": text.split("\n")[1]} for i, text in enumerate(texts)]
        _write(folder / "wiki_lead" / f"{split}.jsonl.xz", rows)


def _text(rng: random.Random) -> str:
    about = rng.sample(_NOUNS, 3)
    return "\n".join(_sentence(rng, about) for _ in range(rng.randint(6, 9)))


def _sentence(rng: random.Random, about: list[str]) -> str:
    some = [*rng.sample(about, 2), rng.choice(_NOUNS)]
    verb, kind = rng.choice(_VERBS), rng.choice(_KINDS)
    return f"the {kind} {some[0]} {verb} the {some[1]} beside a {rng.choice(_KINDS)} {some[2]} today."


def _write(file: Path, rows: list[dict[str, object]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(file, "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)


_NOUNS = [
    "river", "garden", "teacher", "letter", "window", "market", "engine", "doctor", "bridge", "forest",
    "village", "captain", "painter", "museum", "station", "harbour", "kitchen", "library", "mountain",
    "student", "factory", "theatre", "soldier", "orchard",
]  # fmt: skip
_VERBS = ["finds", "carries", "paints", "follows", "sells", "repairs", "crosses", "watches"]
_KINDS = ["old", "small", "green", "quiet", "heavy", "bright", "narrow", "early"]
