"""How each framework spells the name of a parameter, and which matrices it turns.

The canonical name of a parameter is the hub's, which is PyTorch's (``spec.parameters``):
``model.encoder.layers.0.fc1.weight``, a matrix [out, in]. Flax calls the same parameter
``model/encoder/layers/0/fc1/kernel``, Keras ``model/encoder/layers.0/fc1/kernel``, and both keep it
[in, out]. Only separators and the last word differ, so that a name can be translated without knowing the
configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pegasus.spec.parameters import Parameter

#: Kinds of ``spec.parameters`` whose leaf is called "bias" in PyTorch; the others are called "weight".
_BIASES = ("bias", "shift")
#: The whole name of the one parameter that is no part of a layer.
_WHOLE = "logits_bias"


@dataclass(frozen=True, eq=False)
class Spelling:
    """How one framework names parameters.

    Attributes:
        name: the framework.
        words: kind of parameter → the last word of its name.
        separator: between the parts of a name.
        turned: whether matrices of layers are kept [in, out].
        joined: whether the number of a layer belongs to the part before it, as ``layers.0``.
        roots: parts at which a name begins, whatever stands before; empty: at its first part.
        others: canonical names that are spelled in a way of their own.
    """

    name: str
    words: Mapping[str, str]
    separator: str
    turned: bool
    joined: bool = False
    roots: tuple[str, ...] = ()
    others: Mapping[str, str] | None = None

    def spell(self, leaf: Parameter) -> str:
        """The framework's name of a parameter."""
        if self.others and leaf.name in self.others:
            return self.others[leaf.name]
        if leaf.kind == _WHOLE:
            return leaf.name
        stem = leaf.name.rpartition(".")[0]
        if self.joined:
            stem = re.sub(r"\blayers\.(\d+)", r"layers_\1", stem)
        parts = [*stem.split("."), self.words[leaf.kind]]
        return re.sub(r"\blayers_(\d+)", r"layers.\1", self.separator.join(parts))

    def canonical(self, name: str) -> tuple[str, bool]:
        """The canonical name of what the framework calls ``name``, and whether it is turned.

        A name that means nothing comes back with its parts joined as canonical names are: it is then found
        among those that nobody knows.
        """
        parts = re.sub(r":\d+$", "", name).split(self.separator)
        starts = [place for place, part in enumerate(parts) if part in self.roots]
        parts = parts[starts[-1] :] if starts else parts
        word = parts[-1]
        kinds = [kind for kind, mine in self.words.items() if mine == word]
        if not kinds or len(parts) == 1:
            return ".".join(parts), False
        leaf = "bias" if kinds[0] in _BIASES else "weight"
        return ".".join([*parts[:-1], leaf]), self.turned and kinds == ["kernel"]


def _words(embedding: str, kernel: str, scale: str, shift: str) -> dict[str, str]:
    return {
        "embedding": embedding,
        "positions": embedding,
        "kernel": kernel,
        "bias": "bias",
        "scale": scale,
        "shift": shift,
    }


PYTORCH = Spelling("PyTorch", _words("weight", "weight", "weight", "bias"), ".", turned=False)
FLAX = Spelling("Flax", _words("embedding", "kernel", "scale", "bias"), "/", turned=True)
#: Flax parameters in a safetensors file.
FLAX_DOTTED = Spelling("Flax", FLAX.words, ".", turned=True)
KERAS = Spelling(
    "Keras",
    _words("embeddings", "kernel", "gamma", "beta"),
    "/",
    turned=True,
    joined=True,
    roots=("model", "model.shared", "lm_head", "final_logits_bias"),
    others={"model.shared.weight": "model.shared/model.shared/embeddings"},
)
