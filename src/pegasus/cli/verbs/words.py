"""List the common words of a corpus, which faithful summaries may use beside those of their text.

Counted are words in small letters. Put the list into a checkpoint's folder, named common_words.txt: then
`pegasus summarize --faithful words` holds to it, and to the words of each text.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pegasus.cli.exits import OK, say
from pegasus.cli.reading_options import declare_reading, make_reading

_EXAMPLES = """\
examples:
  pegasus words corpus/ -o model/common_words.txt
  pegasus words news.jsonl.gz --column body --least 10 -o common_words.txt
"""


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's options."""
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "corpus", nargs="+", metavar="FILE", help="files or folders that a model learns from"
    )
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="where to write, one a line")
    parser.add_argument(
        "--least", type=int, default=4, metavar="N", help="how often a word must come (default: 4)"
    )
    parser.add_argument("--column", metavar="NAME", help="the column that holds the text")
    declare_reading(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the list and return the exit code."""
    from pegasus.cli.progress import Bar
    from pegasus.cli.streams import check_folder, naming
    from pegasus.data.read import read_documents
    from pegasus.errors import BadData, BadSetting
    from pegasus.spec.files import write_whole
    from pegasus.summarizer.faithful import list_common_words

    if arguments.least < 1:
        raise BadSetting(f"--least must be at least 1; found {arguments.least}.")
    output = Path(arguments.output)
    check_folder(output, output)
    reading = make_reading(arguments)
    documents = read_documents(
        arguments.corpus, column=arguments.column, format=reading.format, encoding=reading.encoding
    )
    with Bar.on_stderr(quiet=arguments.quiet).waiting("counting words"):
        words = list_common_words((document.text for document in documents), arguments.least)
    if not words:
        raise BadData(
            f"No word in small letters comes {arguments.least:,} times or more, and an empty list would "
            "let summaries use every word: give more texts, or a smaller --least."
        )
    with naming(output):
        write_whole(output, "".join(f"{word}\n" for word in words).encode())
    if not arguments.quiet:
        say(f"{arguments.output}: {len(words):,} words")
    return OK
