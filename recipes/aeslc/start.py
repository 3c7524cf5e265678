"""The state in which the pre-training of pegasus-mini ended, as a checkpoint that a job can start from.

    python recipes/aeslc/start.py WORK runs/aeslc/start

WORK is the work folder of ``scripts/train-mini``, after its stage ``pretrain``.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import torch

from pegasus import AutoTokenizer, PegasusConfig, PegasusForConditionalGeneration


def main(work: Path, output: Path) -> None:
    """Write model and tokenizer into ``output``."""
    recipe = Path(__file__).resolve().parents[1] / "pegasus-mini" / "recipe.toml"
    shape = tomllib.loads(recipe.read_text(encoding="utf-8"))["model"]
    last = sorted(work.glob("pretrain-*"))[-1]
    weights = torch.load(last / "state.pt", weights_only=True)["model"]
    config = PegasusConfig(
        vocab_size=len(weights["model.shared.weight"]),
        attention_dropout=0.0,
        activation_dropout=0.0,
        **shape,
    )
    model = PegasusForConditionalGeneration(config)
    model.load_state_dict(weights)
    model.save_pretrained(output)
    AutoTokenizer.from_pretrained("pegasus-mini").save_pretrained(output)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
