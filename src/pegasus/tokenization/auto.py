"""AutoTokenizer: the import that most PEGASUS code uses."""

from __future__ import annotations

import os
from typing import Any

from pegasus.errors import NotOffered
from pegasus.hub import TOKENIZER_FILES, HubOptions, locate
from pegasus.spec.config import PegasusConfig
from pegasus.tokenization.fast import PegasusTokenizerFast
from pegasus.tokenization.slow import PegasusTokenizer
from pegasus.tokenization.vocabulary.folder import CONFIG, SPIECE, TOKENIZER_JSON, read_json, without_notes

_OURS = ("PegasusTokenizer", "PegasusTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend", None)


class AutoTokenizer:
    """Chooses one of the two tokenizers for a name; it is never made itself."""

    def __init__(self) -> None:
        raise TypeError("AutoTokenizer is not made directly. Use AutoTokenizer.from_pretrained(name).")

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], use_fast: bool = True, **kwargs: Any
    ) -> PegasusTokenizer | PegasusTokenizerFast:
        """Load the tokenizer of a PEGASUS checkpoint.

        Args:
            pretrained_model_name_or_path: a folder, a bundled name or a hub name.
            use_fast: False for the sentencepiece class; both give the same ids.
            kwargs: see :meth:`pegasus.tokenization.base.TokenizerBase.from_pretrained`. A vocabulary
                that is no unigram model is opened by the sentencepiece class.

        Raises:
            NotOffered: when the files are those of another model's tokenizer.
        """
        kind = kwargs.get("tokenizer_type")
        if kind not in (None, "pegasus", "bigbird_pegasus"):
            raise NotOffered(f"AutoTokenizer opens 'pegasus', not {kind!r}. Use that kind's own package.")
        kwargs = without_notes(kwargs)
        name = os.fspath(pretrained_model_name_or_path)
        folder = locate(name, HubOptions.take(kwargs), patterns=TOKENIZER_FILES)
        stated = read_json(folder / CONFIG).get("tokenizer_class")
        files = folder / SPIECE, folder / TOKENIZER_JSON
        if stated not in _OURS or (
            (folder / "vocab.txt").is_file() and not any(path.is_file() for path in files)
        ):
            raise NotOffered(
                f"{name} has a tokenizer of kind {stated or 'BertTokenizer'}, and AutoTokenizer opens "
                "those of PEGASUS. Use that tokenizer's own package and give the model its ids."
            )
        options = {"name_or_path": name, **kwargs}
        if not use_fast:
            return PegasusTokenizer.from_pretrained(folder, **options)
        try:
            return PegasusTokenizerFast.from_pretrained(folder, **options)
        except NotOffered:  # no unigram model, or one that is to cut at random
            return PegasusTokenizer.from_pretrained(folder, **options)


#: Both classes of the tokenizer by that of the configuration: the sentencepiece one and the fast one.
TOKENIZER_MAPPING: dict[type[PegasusConfig], tuple[type[PegasusTokenizer], type[PegasusTokenizerFast]]] = {
    PegasusConfig: (PegasusTokenizer, PegasusTokenizerFast)
}
