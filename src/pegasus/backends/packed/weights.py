"""What a packed model is made of: matrices in the layout of a kernel, vectors, and the configuration.

Names. A packed matrix is called after its place: ``encoder.0.qkv``, ``encoder.0.out``, ``encoder.0.fc1``,
``encoder.0.fc2``; in the decoder ``decoder.0.qkv``, ``decoder.0.out``, ``decoder.0.cross_q``,
``decoder.0.cross_kv``, ``decoder.0.cross_out``, ``decoder.0.fc1``, ``decoder.0.fc2``; and ``head``, which
is the table of embeddings too unless there is an ``embedding``. Vectors keep their canonical names, less
the ``model.`` before them.

Axes: N outputs, K inputs of a matrix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np

from pegasus.backends.native.records import Linear
from pegasus.errors import BadSetting

if TYPE_CHECKING:
    from pegasus.spec.config import PegasusConfig

Kind = Literal["float32", "bfloat16", "float16", "int8"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Packer(Protocol):
    """Brings a matrix into the layout of some kernels, and back."""

    @property
    def layout(self) -> str:
        """The name of the layout, which a saved folder carries."""
        ...

    def pack(self, kind: Kind, weights_NK: np.ndarray, bias_N: np.ndarray | None) -> Linear:
        """The matrix in that layout. The weights are float32 and lie row by row; they are copied."""
        ...

    def nbytes(self, kind: Kind, outputs: int, inputs: int) -> int:
        """How many bytes the weights of such a matrix take."""
        ...

    def take(self, linear: Linear, rows_M: np.ndarray) -> np.ndarray:
        """Some rows of the matrix, float32 [M, K]: the embeddings of tokens."""
        ...

    def unpack(self, linear: Linear) -> np.ndarray:
        """The matrix again, float32 [N, K], as good as its kind keeps it."""
        ...


@dataclass(frozen=True)
class PackedWeights:
    """All numbers of a model that summarizes.

    Attributes:
        config: the shape of the model.
        kind: how its matrices are kept.
        layout: in which order their bytes lie.
        linears: the matrices.
        vectors: float32: layer norms, and tables of positions that no formula gives.
    """

    config: PegasusConfig
    kind: Kind
    layout: str
    linears: Mapping[str, Linear]
    vectors: Mapping[str, np.ndarray]

    @property
    def embedding(self) -> Linear:
        """The matrix whose rows are the embeddings of tokens: the head where they are tied."""
        return self.linears.get("embedding", self.linears["head"])

    @property
    def nbytes(self) -> int:
        """All bytes of it."""
        return sum(array.nbytes for array in self.arrays().values())

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array by a name: ``encoder.0.qkv.weights``, ``.scale``, ``.sums``, ``.bias``; vectors."""
        found = dict(self.vectors)
        for name, linear in self.linears.items():
            parts = {"scale": linear.scale_N, "sums": linear.sums_N, "bias": linear.bias_N}
            found[f"{name}.weights"] = linear.weights
            found.update({f"{name}.{part}": array for part, array in parts.items() if array is not None})
        return found


def kind_of(dtype: object) -> Kind:
    """The kind that a word, or a framework's own type, means.

    Raises:
        BadSetting: there is none.
    """
    name = str(dtype).rpartition(".")[2]
    for kind in KINDS:
        if kind == name:
            return kind
    raise BadSetting(f"unknown dtype {dtype!r} of packed weights: use one of {', '.join(KINDS)}.")
