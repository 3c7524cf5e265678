"""A small checkpoint with a real tokenizer, standing in for the names of the hub."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from pegasus import AutoTokenizer, PegasusConfig, PegasusForConditionalGeneration
from pegasus.tokenization.train import train_vocabulary

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared" / "vocab" / "pegasus-96k"
TOKENIZER_FILES = ("spiece.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


@pytest.fixture(scope="session", params=["real", "learned"])
def vocabulary(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real vocabulary where it lies beside the checkout, and one learned from our own pages."""
    if request.param == "real":
        if not REAL.is_dir():
            pytest.skip("no real vocabulary beside the checkout")
        return REAL
    folder = tmp_path_factory.mktemp("learned")
    pages = [ROOT / "LICENSE", *sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
    texts = [page.read_text(encoding="utf-8") for page in pages]
    train_vocabulary(texts, folder, vocab_size=700, character_coverage=1.0, threads=1)
    return folder


@pytest.fixture(scope="session")
def checkpoint(vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder as the hub has it: seeded random weights, the published architecture in small."""
    folder = tmp_path_factory.mktemp("pegasus-small")
    for name in TOKENIZER_FILES:
        if (vocabulary / name).is_file():
            shutil.copyfile(vocabulary / name, folder / name)
    config = PegasusConfig(
        vocab_size=len(AutoTokenizer.from_pretrained(folder)),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        activation_function="relu",
        scale_embedding=True,
        max_position_embeddings=1024,
        init_std=0.2,
        num_beams=2,
        max_length=12,
        length_penalty=0.8,
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        PegasusForConditionalGeneration(config).save_pretrained(folder)
    return str(folder)
