"""``mypy --strict`` accepts a user's script, and finds the mistakes that are planted in another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mypy import api

ROOT = Path(__file__).resolve().parents[2]
GOOD = """
import torch
from pegasus import (
    AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig, PegasusConfig, PegasusForCausalLM,
    PegasusForConditionalGeneration, PegasusTokenizer, PegasusTokenizerFast,
)

model = PegasusForConditionalGeneration.from_pretrained("pegasus-mini", torch_dtype=torch.float32)
tokenizer = PegasusTokenizer.from_pretrained("pegasus-mini")
batch = tokenizer(["a text", "another"], padding=True, truncation=True, return_tensors="pt").to("cpu")
said = model.generate(**batch, num_beams=2, max_length=20)
texts: list[str] = tokenizer.batch_decode(said, skip_special_tokens=True)
model(**batch, labels=batch["input_ids"]).loss.backward()
record = model.generate(batch["input_ids"], return_dict_in_generate=True, output_scores=True)
print(record.sequences, said.shape)
again: PegasusForConditionalGeneration = AutoModelForSeq2SeqLM.from_pretrained("pegasus-mini")
decoder: PegasusForCausalLM = PegasusForCausalLM(PegasusConfig(d_model=8))
fast: PegasusTokenizer | PegasusTokenizerFast = AutoTokenizer.from_pretrained("pegasus-mini")
settings: GenerationConfig = GenerationConfig.from_pretrained("pegasus-mini")
config: PegasusConfig = PegasusConfig.from_pretrained("pegasus-mini")
loaded, info = PegasusForConditionalGeneration.from_pretrained("pegasus-mini", output_loading_info=True)
print(loaded.config.d_model, info["missing_keys"])
model.train()
model.save_pretrained("folder")
"""
BAD = """
import torch
from pegasus import AutoModelForSeq2SeqLM, PegasusConfig, PegasusForConditionalGeneration, PegasusTokenizer

model = PegasusForConditionalGeneration.from_pretrained("pegasus-mini")
tokenizer = PegasusTokenizer.from_pretrained("pegasus-mini")
ids = torch.ones(1, 4, dtype=torch.long)
PegasusForConditionalGeneration.from_pretrained("pegasus-mini", torch_dtpe="float32")  # mistake
tokenizer(["a text"], retrun_tensors="pt")  # mistake
tokenizer(["a text"], max_length="20")  # mistake
tokenizer(["a text"], padding="logest")  # mistake
model.generate(ids, num_beems=2)  # mistake
model.generate(ids, max_length="20")  # mistake
model.generate(ids).sequences  # mistake
model(ids, label=ids)  # mistake
model(ids, labels=ids).los  # mistake
other: PegasusTokenizer = AutoModelForSeq2SeqLM.from_pretrained("pegasus-mini")  # mistake
tokenizer.batch_decode(ids).upper()  # mistake
PegasusConfig(dmodel=8.5, d_model="8")  # mistake
"""


@pytest.mark.slow  # the first run reads the whole package
def test_a_users_script(tmp_path: Path) -> None:
    for name, text in (("good.py", GOOD), ("bad.py", BAD)):
        (tmp_path / name).write_text(text)
    paths = [str(tmp_path / name) for name in ("good.py", "bad.py")]
    found, problem, _ = api.run(
        ["--strict", "--config-file=", "--cache-dir", str(tmp_path / "cache"), *paths]
    )
    assert not problem
    assert "good.py" not in found, found
    lines = {int(number) for number in re.findall(r"bad\.py:(\d+): error", found)}
    planted = {n for n, line in enumerate(BAD.splitlines(), 1) if line.endswith("# mistake")}
    assert lines == planted, found
