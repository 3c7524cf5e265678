from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import pegasus
from pegasus.cli.app import VERBS, build_parser, main
from pegasus.cli.reference import make_reference
from pegasus.summarizer import Settings

ROOT = Path(__file__).resolve().parents[2]


def test_defaults_are_those_of_the_settings() -> None:
    arguments = build_parser().parse_args(["summarize"])
    settings = Settings()
    for name in ("long", "length", "sentences", "num_beams", "length_penalty", "no_repeat_ngram_size"):
        assert getattr(arguments, name) == getattr(settings, name), name
    for name in ("retry_repetition", "explain", "batch_size"):
        assert getattr(arguments, name) == getattr(settings, name), name


def test_the_page_in_the_docs_is_the_help(monkeypatch) -> None:
    monkeypatch.delenv("PEGASUS_MODEL", raising=False)
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == make_reference(), (
        "run: python -m pegasus.cli.reference > docs/cli.md"
    )


def test_help_of_every_verb_is_printed(capsys) -> None:
    for verb in VERBS:
        with pytest.raises(SystemExit) as end:
            main([verb, "--help"])
        assert end.value.code == 0
        assert f"usage: pegasus {verb}" in capsys.readouterr().out


def test_version(capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"pegasus {pegasus.__version__}\n"


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    program = "import sys, pegasus.cli.app as app\ntry: app.main(['--help'])\nexcept SystemExit: pass\n" + (
        "print(sorted({name.split('.')[0] for name in sys.modules} & "
        "{'torch', 'numpy', 'rich', 'tokenizers', 'sentencepiece', 'huggingface_hub', 'safetensors'}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    spent = []
    for _ in range(3):  # in seconds of the processor, which do not count how busy the machine is
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ran = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert ran.stdout.splitlines()[-1] == "[]"
    assert min(spent) < 0.2  # 0.06 on the machine it was written on
