"""Make pegasus-mini: ``python recipes/pegasus-mini/make.py --work DIR [STAGE ...]``.

Stages are passed over where they are done, and go on where they were stopped (status 75). ``--scale gpu``
is one accelerator with a larger teacher; README.md says what each stage does. ``--set`` changes every job.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pegasus import AutoTokenizer, GenerationConfig, PegasusForConditionalGeneration
from pegasus.data.read import read_documents
from pegasus.tokenization.train import train_vocabulary

HERE = Path(__file__).resolve().parent
TEACHER = {  # 59.0 million parameters
    "d_model": 640, "encoder_layers": 8, "decoder_layers": 4, "dropout": 0.1,
    "encoder_attention_heads": 10, "decoder_attention_heads": 10,
    "encoder_ffn_dim": 1792, "decoder_ffn_dim": 1792,
}  # fmt: skip
SETS = ("senate_headline", "scitldr", "gov_blog", "pubmedqa", "gumsum", "wiki_lead")
GENERATION = GenerationConfig(
    num_beams=1, length_penalty=1.0, no_repeat_ngram_size=5, max_length=128, min_length=8, pad_token_id=0,
    eos_token_id=1, decoder_start_token_id=0, forced_eos_token_id=1,
)  # fmt: skip


class Maker:
    """Runs stages in the work folder, where the jobs find everything by relative names."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked, self.data = asked, Path("data")
        self.last = {"cpu": "finetune", "gpu": "distill", "second": "second"}[asked.scale]

    def vocabulary(self) -> None:
        """Learn a unigram vocabulary from a sample of the text."""
        chance = random.Random(0)
        documents = read_documents(sorted(self.data.glob("pretrain/*")))
        texts = (one.text for one in documents if chance.random() < self.asked.sample)
        train_vocabulary(
            texts, "vocabulary", self.asked.pieces + 103, model_max_length=512, split_digits=True
        )

    def prepare(self) -> None:
        """Cut the text into passages, with ids and sentence scores."""
        files = sorted(map(str, self.data.glob("pretrain/*")))
        passages = ("--passage-tokens", "490", "--passage-sentences", "4")
        self.verb(
            "prepare",
            *files,
            "--tokenizer",
            "vocabulary",
            "--output",
            "shards",
            "--sentences",
            "careful",
            *passages,
        )

    def pretrain(self) -> None:
        """Learn to find, copy and write sentences."""
        self._pretrain("pretrain")

    def teacher(self) -> None:
        """The same for the larger teacher, and its fine-tuning."""
        shape = {f"model.config.{name}": value for name, value in TEACHER.items()}
        self._pretrain("teacher-pretrain", **shape)
        start = {"model.start": "teacher-pretrain-2/model", "run.steps": 500, "run.batch": 128}
        self.job("finetune", HERE / "finetune.toml", "teacher", **shape, **start)

    def finetune(self) -> None:
        """Learn to write one or two sentences of whole texts."""
        self.job("finetune", HERE / "finetune.toml", "finetune")

    def distill(self) -> None:
        """Learn from people's targets, from the teacher's, and from how sure it is of each word."""
        self.job("distill", HERE / "gpu" / "distill.toml", "distill")

    def second(self) -> None:
        """The second edition's fine-tuning of the weights in ``pretrained``."""
        self.job("finetune", HERE / "second.toml", "second")

    def export(self) -> None:
        """Write the folder that is bundled: half-precision weights, tokenizer, settings of ``generate``."""
        model = PegasusForConditionalGeneration.from_pretrained(f"{self.last}/model")
        model.generation_config = GENERATION
        model.half().save_pretrained("pegasus-mini")
        AutoTokenizer.from_pretrained(f"{self.last}/model").save_pretrained("pegasus-mini")

    def evaluate(self) -> None:
        """ROUGE with intervals beside baselines on the sets that were held back."""
        for name in SETS:
            file = self.data / name / f"{self.asked.split}.jsonl.xz"
            if file.exists():
                self.verb(
                    "evaluate", "--model", "pegasus-mini", "--data", str(file), "--output", f"scores/{name}"
                )

    def _pretrain(self, output: str, **changes: object) -> None:
        folder = HERE / "gpu" if self.asked.scale == "gpu" else HERE
        for part in range(3):
            start = {"model.start": f"{output}-{part - 1}/model"} if part else {}
            self.job("pretrain", folder / f"pretrain-{part}.toml", f"{output}-{part}", **start, **changes)

    def job(self, verb: str, file: Path, output: str, **changes: object) -> None:
        """Run a job, unless its model is there."""
        if (Path(output) / "model").is_dir():
            return
        given = {"output": output, "run.exit_when_stopped": 75, **changes}
        sets = [f"{key}={value}" for key, value in given.items()] + self.asked.set
        self.verb(verb, str(file), *(word for change in sets for word in ("--set", change)))

    def verb(self, *words: str) -> None:
        """Run `pegasus` and end as it ends, unless all is well."""
        code = subprocess.run([sys.executable, "-m", "pegasus", *words], check=False).returncode
        if code:
            raise SystemExit(code)


SCALES: dict[str, tuple[Callable[[Maker], None], ...]] = {
    "cpu": (Maker.vocabulary, Maker.prepare, Maker.pretrain, Maker.finetune, Maker.export, Maker.evaluate),
    "gpu": (
        *(Maker.vocabulary, Maker.prepare, Maker.teacher, Maker.pretrain),
        *(Maker.distill, Maker.export, Maker.evaluate),
    ),
    "second": (Maker.second, Maker.export, Maker.evaluate),
}
DONE = {
    "vocabulary": "vocabulary/spiece.model",
    "prepare": "shards/manifest.json",
    "export": "pegasus-mini/config.json",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what was asked for, or everything, in the stages' order."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stages", nargs="*", metavar="STAGE", help="default: all that the scale has")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=HERE.parents[2] / "shared" / "data")
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--pieces", type=int, default=8000)
    parser.add_argument("--sample", type=float, default=0.12, help="of the text, for the vocabulary")
    parser.add_argument("--split", default="test", help="what is evaluated on")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args(arguments)
    stages = {stage.__name__: stage for stage in SCALES[asked.scale]}
    if unknown := set(asked.stages) - stages.keys():
        parser.error(
            f"the scale {asked.scale} has no stage {', '.join(unknown)}: it has {', '.join(stages)}"
        )
    asked.work.mkdir(parents=True, exist_ok=True)
    data = asked.data.resolve()
    os.chdir(asked.work)
    if not Path("data").exists():
        Path("data").symlink_to(data)
    for name, stage in stages.items():
        if name in (asked.stages or stages) and not (name in DONE and Path(DONE[name]).exists()):
            stage(Maker(asked))


if __name__ == "__main__":
    main()
