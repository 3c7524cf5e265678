"""What is read off the classes themselves: names of files, and of released checkpoints."""

from __future__ import annotations

from typing import Any, ClassVar

from pegasus.errors import NotOffered
from pegasus.tokenization.vocabulary.folder import SPIECE, TOKENIZER_JSON

#: What the model takes of an encoding.
MODEL_COLUMNS = ("input_ids", "attention_mask")

_XSUM = "google/pegasus-xsum"
_ADDRESS = f"https://huggingface.co/{_XSUM}/resolve/main/"


class Released:
    """Tables of the class, the same in both tokenizers."""

    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": SPIECE, "tokenizer_file": TOKENIZER_JSON}
    pretrained_vocab_files_map: ClassVar[dict[str, dict[str, str]]] = {
        name: {_XSUM: _ADDRESS + file} for name, file in vocab_files_names.items()
    }
    pretrained_init_configuration: ClassVar[dict[str, dict[str, Any]]] = {}
    max_model_input_sizes: ClassVar[dict[str, int]] = {_XSUM: 512}

    @classmethod
    def register_for_auto_class(cls, auto_class: str | type = "AutoTokenizer") -> None:
        """Refused: a folder holds no code here.

        Raises:
            NotOffered: always.
        """
        raise NotOffered(
            f"{cls.__name__} is not written into a folder as code: what is loaded holds numbers and text. "
            "Import your own class where it is used."
        )
