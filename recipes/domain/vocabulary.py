"""Learn a vocabulary from a corpus: ``python recipes/domain/vocabulary.py CORPUS... FOLDER PIECES``."""

from __future__ import annotations

import sys

from pegasus.data.read import read_documents
from pegasus.tokenization.train import train_vocabulary


def main() -> None:
    """Read the documents of the corpus one by one and write the tokenizer into the folder."""
    *corpus, folder, pieces = sys.argv[1:]
    texts = (document.text for document in read_documents(corpus))
    train_vocabulary(texts, folder, vocab_size=int(pieces))


if __name__ == "__main__":
    main()
