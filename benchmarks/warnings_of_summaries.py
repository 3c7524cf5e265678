"""How often do the checks of a summary warn, and of what? Three answers on the tests of eight data sets.

- own: the document's own first three sentences; every warning of numbers or names is a false one.
- human: the reference summary; people do write numbers and names that the document lacks.
- other: the reference summary of another document of the set; a warning is what one hopes for.

    python benchmarks/warnings_of_summaries.py ../shared/data ../shared/vocab/pegasus-96k
"""

from __future__ import annotations

import json
import lzma
import random
import sys
from pathlib import Path

from pegasus import AutoTokenizer
from pegasus.data.sentences import split_careful
from pegasus.summarizer.checks import check_summary
from pegasus.summarizer.text_codec import TextCodec

SETS = "gov_blog scitldr senate_headline wiki_lead billsum113 openstax gumsum pubmedqa"
MOST = 300


def main(data: str, vocabulary: str) -> None:
    looks_like_name = TextCodec(AutoTokenizer.from_pretrained(vocabulary)).looks_like_name
    draw = random.Random(0)
    print("| set | documents | own | human | other |")
    print("|---|---:|---:|---:|---:|")
    for name in SETS.split():
        with lzma.open(Path(data) / name / "test.jsonl.xz", "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for _, line in zip(range(MOST), lines)]
        counts = [0, 0, 0]
        for index, row in enumerate(rows):
            other = draw.choice([each for place, each in enumerate(rows) if place != index])
            own = "".join(split_careful(row["document"])[:3])
            for kind, summary in enumerate((own, row["summary"], other["summary"])):
                warnings = check_summary(summary, row["document"], looks_like_name)
                counts[kind] += any(each.startswith(("numbers", "names")) for each in warnings)
        print(
            f"| {name} | {len(rows)} | " + " | ".join(f"{count / len(rows):.0%}" for count in counts) + " |"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
