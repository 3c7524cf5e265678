"""The usual home-made server: a model behind FastAPI, one document a request.

Run by a peer's interpreter, which has fastapi, uvicorn, and transformers or ctranslate2. Nothing is
batched, bounded or cancelled, as people write such servers.
"""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

Write = Callable[[str], str]
LONGEST = 512


class Asked(BaseModel):
    """A request."""

    document: str
    long: str = "truncate"


def with_transformers(folder: Path, threads: int) -> Write:
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    torch.set_num_threads(threads)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    one_at_a_time = (
        threading.Lock()
    )  # two searches at once on the same cores take longer than one after the other

    def write(document: str) -> str:
        batch = tokenizer(document, truncation=True, max_length=LONGEST, return_tensors="pt")
        with one_at_a_time, torch.inference_mode():
            found = model.generate(**batch, early_stopping=True)
        return str(tokenizer.decode(found[0], skip_special_tokens=True))

    return write


def with_ctranslate2(folder: Path, threads: int) -> Write:
    import ctranslate2
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(LONGEST)
    settings = json.loads((folder / "generation_config.json").read_text("utf-8"))
    # Its queue is as long as is asked for, and its threads are all at work on one document.
    model = ctranslate2.Translator(str(folder), device="cpu", intra_threads=threads)

    def write(document: str) -> str:
        found = model.translate_batch(
            [tokenizer.encode(document).tokens],
            beam_size=settings["num_beams"],
            max_decoding_length=settings["max_length"],
            min_decoding_length=settings.get("min_length", 0),
            no_repeat_ngram_size=settings.get("no_repeat_ngram_size", 0),
            length_penalty=settings["length_penalty"],
        )
        ids = [tokenizer.token_to_id(token) for token in found[0].hypotheses[0]]
        return str(tokenizer.decode(ids))

    return write


KINDS = {"transformers": with_transformers, "ctranslate2": with_ctranslate2}


def create_app(write: Write) -> FastAPI:
    app = FastAPI()

    @app.get("/readyz")
    def readyz() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/v1/summarize")
    def summarize(asked: Asked) -> dict[str, str]:
        return {"summary": write(asked.document)}

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    write = KINDS[options.kind](options.folder, options.threads)
    write("A first text, so that whoever asks first need not wait longer than others.")
    uvicorn.run(create_app(write), port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
