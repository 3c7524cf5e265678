"""A folder that CTranslate2's own converter takes, and that says the same words there."""

from __future__ import annotations

import json
from pathlib import Path

from pegasus.checkpoint.conversion import Conversion, model_of, open_source
from pegasus.errors import NotOffered
from pegasus.spec.config_fields import SWITCHES

#: What its converter knows.
_ACTIVATIONS = (
    "relu",
    "gelu",
    "gelu_new",
    "gelu_fast",
    "gelu_python",
    "gelu_pytorch_tanh",
    "silu",
    "swish",
)
#: What its converter reads of a configuration and not every checkpoint says.
_FIELDS = {
    "normalize_before": True,
    "normalize_embedding": False,
    "architectures": ["PegasusForConditionalGeneration"],
    "model_type": "pegasus",
    "tie_word_embeddings": True,
}


def write_for_ctranslate2(folder: Path, output: Path) -> None:
    """Writes weights in float32, settings and the tokenizer's files.

    Args:
        folder: a checkpoint of ours.
        output: made when it does not exist; it must hold no weights.

    Raises:
        NotOffered: CTranslate2 would compute otherwise than this model; lists why.
        PegasusError: what ``open_source`` and ``Conversion.write`` raise.
    """
    source = open_source(folder)
    config = source.config
    unlike = [
        f"{name} is {getattr(config, name)!r}"
        for name, usual in SWITCHES.items()
        if getattr(config, name) != usual
    ]
    if config.activation_function not in _ACTIVATIONS:
        unlike.append(f"its activation is {config.activation_function!r}")
    if config.pruned_heads:
        unlike.append("it has lost heads")
    if not config.tie_word_embeddings:
        unlike.append("its head is not its embedding")
    if model_of(source.tensors) != "conditional":
        unlike.append("it is a decoder alone")
    if unlike:
        raise NotOffered(
            f"CTranslate2 would compute otherwise than {folder}: {', '.join(unlike)}. Export it to ONNX, "
            "or convert the authors' checkpoint with --as transformers."
        )
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    values = {**values, **_FIELDS, "torch_dtype": "float32"}
    text = json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    Conversion(source, dtype="float32").write(output, {"config.json": text.encode()})
