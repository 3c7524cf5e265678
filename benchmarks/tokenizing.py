"""How fast does text become ids, and are they the same ids?

    scripts/bench tokenizer CORPUS.jsonl.xz... --tokenizer DIR [--documents 2000] [--sentences] [--json]

One thread, times of the processor. "cold" begins with nothing remembered, "warm" has seen the texts once.
Contestants take turns; a round's ratio is of times taken one after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from operator import truediv
from typing import Any

Work = Callable[[], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("corpus", nargs="+")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--documents", type=int, default=2000, help="of all files together, in turns")
    parser.add_argument("--sentences", action="store_true", help="cut documents into sentences before")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    texts = list(islice(in_turns(arguments.corpus), arguments.documents))
    if arguments.sentences:
        from pegasus.data.sentences import split_authors

        texts = [sentence for text in texts for sentence in split_authors(text)]
    report = measure(texts, arguments.tokenizer, arguments.rounds)
    print(json.dumps(report, indent=2) if arguments.json else table(report))


def in_turns(files: Sequence[str]) -> Iterator[str]:
    """The documents of all files, one of each in turns."""
    from pegasus.data.read import read_documents

    open_files = [iter(read_documents([file])) for file in files]
    while open_files:
        for file in list(open_files):
            document = next(file, None)
            if document is None:
                open_files.remove(file)
            else:
                yield document.text


def measure(texts: list[str], folder: str, rounds: int) -> dict[str, Any]:
    from pegasus import PegasusTokenizer, PegasusTokenizerFast

    slow = PegasusTokenizer.from_pretrained(folder)
    backend = PegasusTokenizerFast.from_pretrained(folder).backend_tokenizer
    whole = slow.sp_model
    warm = PegasusTokenizer.from_pretrained(folder)
    options = {"add_special_tokens": False, "verbose": False}
    works: dict[str, Callable[[], Work]] = {
        "ours, cold": lambda: bulk(PegasusTokenizer.from_pretrained(folder), texts),
        "ours, warm": lambda: bulk(warm, texts),
        "ours, a call": lambda: partial(PegasusTokenizer.from_pretrained(folder), texts, **options),
        "sentencepiece": lambda: lambda: whole.encode(texts, out_type=int, num_threads=1),
        "tokenizers": lambda: lambda: backend.encode_batch_fast(texts, add_special_tokens=False),
    }  # fmt: skip
    warm.encode_ids(texts)
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, prepare in works.items():
            work = prepare()
            began = time.process_time()
            work()
            seconds[name].append(time.process_time() - began)
    ids = [row.tolist() for row in warm.encode_ids(texts, add_special_tokens=False)]
    called = slow(texts, **options)["input_ids"]
    raw = [
        [number + slow.offset for number in row] for row in whole.encode(texts, out_type=int, num_threads=1)
    ]
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) / 1e6
    return {
        "megabytes": round(size, 2),
        "texts": len(texts),
        "tokens": sum(map(len, ids)),
        "MB/s": {name: round(size / statistics.median(times), 2) for name, times in seconds.items()},
        "ratio to sentencepiece": {
            name: round(statistics.median(map(truediv, times, seconds["sentencepiece"])), 2)
            for name, times in seconds.items()
        },
        "texts that differ from a call": sum(a != b for a, b in zip(ids, called)),
        "texts that differ from sentencepiece": sum(a != b for a, b in zip(ids, raw)),
    }  # fmt: skip


def bulk(tokenizer: Any, texts: list[str]) -> Work:
    tokenizer.encode_ids(["one text, so that all is loaded: ----"])
    return lambda: tokenizer.encode_ids(texts, add_special_tokens=False)


def table(report: dict[str, Any]) -> str:
    size = f"{report['texts']:,} texts, {report['megabytes']} MB, {report['tokens']:,} tokens"
    rows = [
        f"{name:<16} {speed:8.2f} MB/s  time {report['ratio to sentencepiece'][name]:.2f} x sentencepiece's"
        for name, speed in report["MB/s"].items()
    ]
    differ = [f"{name}: {report[name]}" for name in report if name.startswith("texts that")]
    return "\n".join([size, *rows, *differ])


if __name__ == "__main__":
    main()
