"""What in the files fits what in the model, and one report of everything that does not."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pegasus.checkpoint.finite import refuse_not_finite
from pegasus.checkpoint.raw import RawTensor
from pegasus.errors import CheckpointMismatch
from pegasus.spec.parameters import STACKS, Model, Parameter, copies, optional, parameters

if TYPE_CHECKING:
    from pegasus.spec.config import PegasusConfig

Shape = tuple[int, ...]
#: A model has some twenty names a layer: more than these are named by their number.
_SAID = 60
_PREFIX = "model."  # what the models with a head put before the names of the bare one
#: The names that the embedding of a whole model goes by.
EMBEDDINGS = ("shared.weight", "decoder.embed_tokens.weight", "encoder.embed_tokens.weight")
_HEAD = "lm_head.weight"


@dataclass(frozen=True)
class Report:
    """How a checkpoint fitted a model; names are the model's, or the files' where the model has none.

    Attributes:
        missing: parameters that no file holds and that cannot be computed.
        unexpected: tensors that mean nothing to PEGASUS.
        mismatched: parameter, shape in the file, shape in the model.
        left_out: tensors of the whole model that this class has no place for, such as the encoder's when
            the decoder alone is loaded.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[tuple[str, Shape, Shape], ...]
    left_out: tuple[str, ...]

    def without(self, missing: Sequence[str] | None, unexpected: Sequence[str] | None) -> Report:
        """The same less the names in which one of these patterns is found, which a class may ignore."""
        return replace(
            self,
            missing=tuple(name for name in self.missing if not _ignored(name, missing)),
            unexpected=tuple(name for name in self.unexpected if not _ignored(name, unexpected)),
        )

    def as_dict(self) -> dict[str, Any]:
        """The form that ``output_loading_info=True`` returns."""
        return {
            "missing_keys": list(self.missing),
            "unexpected_keys": list(self.unexpected),
            "mismatched_keys": list(self.mismatched),
            "error_msgs": [],
        }

    def lines(self) -> list[str]:
        """Everything that did not fit, one kind a line; of hundreds of names the first."""
        misshapen = [
            f"{name} has {list(found)} and needs {list(due)}" for name, found, due in self.mismatched
        ]
        kinds = [
            ("of another shape", misshapen),
            ("missing", self.missing),
            ("unexpected", self.unexpected),
        ]
        return [f"{len(names)} {kind}: {_listed(names)}" for kind, names in kinds if names]


@dataclass(frozen=True)
class Fit:
    """Which tensor of the files fills which parameter.

    Attributes:
        sources: canonical name → tensor.
        absent: canonical names that the backend must fill itself, missing or computed.
        report: what did not fit.
        made_up: how many numbers must be drawn at random, for want of a tensor of that name and shape.
    """

    sources: Mapping[str, RawTensor]
    absent: tuple[str, ...]
    report: Report
    made_up: int = 0

    @property
    def held(self) -> int:
        """How many numbers the files give."""
        return sum(math.prod(tensor.shape) for tensor in self.sources.values())

    def arrays(self) -> Iterator[tuple[str, RawTensor]]:
        """Each parameter once, the largest first, and its memory given back when the next is asked for.

        One that is not finite is refused. Largest first, so that the moment at which a tensor exists twice
        comes while the model is small.
        """
        for name, tensor in sorted(self.sources.items(), key=lambda item: -item[1].nbytes):
            refuse_not_finite(name, tensor)
            yield name, tensor
            tensor.release()


def fit(
    tensors: Mapping[str, RawTensor],
    config: PegasusConfig,
    model: Model,
    more: Sequence[Parameter] = (),
    must_fit: bool = True,
) -> Fit:
    """Matches the tensors of a checkpoint of any of the classes with the parameters of one.

    Args:
        tensors: what the files hold.
        config: the shapes.
        model: which parameters are wanted.
        more: what a subclass has beside them.
        must_fit: whether it is an error that nothing at all fits.

    Raises:
        CheckpointMismatch: not a single parameter of the model is there.
    """
    by_inner = {_inner(name): name for name in sorted(tensors, key=lambda name: name.startswith(_PREFIX))}
    leaves = {**parameters(config, model), **{leaf.name: leaf for leaf in more}}
    sources: dict[str, RawTensor] = {}
    mismatched = []
    for leaf in leaves.values():
        name = _source(leaf, by_inner, config, model)
        if name is None:
            continue
        if tensors[name].shape == leaf.shape:
            sources[leaf.name] = tensors[name]
        elif leaf.kind != "positions":  # of another length: computed anew, not refused
            mismatched.append((leaf.name, tensors[name].shape, leaf.shape))
    fitting = any(leaves[name].kind not in ("positions", "logits_bias") for name in sources)
    if must_fit and not mismatched and not fitting:
        raise CheckpointMismatch(_nothing_fits(tensors, leaves))
    misshapen = {name for name, _, _ in mismatched}
    absent = [name for name in leaves if name not in sources]
    missing = [name for name in absent if name not in misshapen and not optional(leaves[name])]
    unexpected, left_out = _leftovers(by_inner, config, model, [leaf.name for leaf in more])
    report = Report(tuple(missing), tuple(unexpected), tuple(mismatched), tuple(left_out))
    made_up = sum(math.prod(leaves[name].shape) for name in (*missing, *misshapen))
    return Fit(sources, tuple(absent), report, made_up)


def _ignored(name: str, patterns: Sequence[str] | None) -> bool:
    return any(re.search(pattern, name) for pattern in patterns or ())


def _inner(name: str) -> str:
    return name.removeprefix(_PREFIX)


def _source(
    leaf: Parameter, by_inner: Mapping[str, str], config: PegasusConfig, model: Model
) -> str | None:
    """The tensor for a parameter; the embedding goes by several names, and any one of them will do."""
    wanted = [_inner(leaf.name)]
    if model in ("encoder", "decoder"):  # a stack of a whole model
        wanted.append(f"{model}.{leaf.name}")
    if leaf.kind == "embedding":
        wanted += ["embed_tokens.weight"] if model in STACKS else []
        wanted += [*EMBEDDINGS, *([_HEAD] if config.tie_word_embeddings else [])]
    return next((by_inner[name] for name in wanted if name in by_inner), None)


def _leftovers(
    by_inner: Mapping[str, str], config: PegasusConfig, model: Model, more: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Tensors that no parameter took: the unexpected, and those left out on purpose."""
    own = (*parameters(config, model), *copies(config, model), *more)
    used = {_inner(name) for name in own} | set(EMBEDDINGS)
    if model in ("encoder", "decoder"):
        used |= {f"{model}.{name}" for name in own}
    whole = {_inner(name) for name in parameters(config, "conditional")} | {_HEAD}
    unexpected: list[str] = []
    left_out: list[str] = []
    for inner, name in by_inner.items():
        if inner in used:
            continue
        known = inner in whole or (model == "causal" and inner.startswith("encoder."))
        (left_out if known else unexpected).append(name)
    return unexpected, left_out


def _nothing_fits(tensors: Mapping[str, RawTensor], leaves: Mapping[str, Parameter]) -> str:
    return (
        f"None of the model's {len(leaves)} parameters is in these files: they hold {len(tensors)} "
        "tensors such as "
        f"{_few(list(tensors)) or 'none at all'}, and PEGASUS needs such as {_few(list(leaves)[-3:])}. "
        "Give the checkpoint of a PEGASUS model."
    )


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _SAID
    return ", ".join(names[:_SAID]) + (f" and {rest:,} more" if rest > 0 else "")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3])
