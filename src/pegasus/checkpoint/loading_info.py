"""What ``output_loading_info=True`` returns: every name that the loaded class has, ties among them.

The report of ``checkpoint.report`` says what matters: a tied copy, or a table that a formula gives, is no
loss. Programs that ask for this form look for every name of the state dict instead, so here

* a parameter that is missing or of another shape stands under all its names;
* a table of positions is missing where the rest of its stack is;
* whatever the class has no place for is unexpected, left out on purpose or not;
* where the files spell names without the prefix of the base model, or with one that the class lacks, the
  names follow the files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pegasus.checkpoint.report import EMBEDDINGS
from pegasus.spec.parameters import Model, Parameter, copies, parameters

if TYPE_CHECKING:
    from pegasus.checkpoint.raw import RawTensor
    from pegasus.checkpoint.report import Fit
    from pegasus.spec.config import PegasusConfig

_PREFIX = "model."
_STACKS = ("encoder", "decoder")


def loading_info(
    fitted: Fit,
    stored: Mapping[str, RawTensor],
    config: PegasusConfig,
    model: Model,
    more: Sequence[Parameter] = (),
    ignored: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The keys ``missing_keys``, ``unexpected_keys``, ``mismatched_keys`` and ``error_msgs``.

    Args:
        fitted: which tensor fills which parameter.
        stored: the tensors of the files.
        config: the shapes.
        model: the kind of class that was loaded.
        more: what the class has beside the parameters of its kind.
        ignored: patterns of names that the class does not want to hear of when they are unexpected.
    """
    report = fitted.report
    if model in _STACKS:  # a stack of a whole model: the rest of that model is no surprise
        return report.as_dict()
    ties = copies(config, model)
    leaves = {**parameters(config, model), **{leaf.name: leaf for leaf in more}}
    expected = [*leaves, *ties]
    spelled = _spelling(expected, stored)
    lost = {*report.missing, *_lost_tables(fitted, leaves)}
    missing = [name for name in expected if ties.get(name, name) in lost]
    known = {spelled(name) for name in expected}
    if model == "own":  # which of its tensors are tied is not known here
        known |= {_PREFIX + name for name in EMBEDDINGS}
    misshapen = {name: (found, due) for name, found, due in report.mismatched}
    mismatched = [
        (spelled(name), *misshapen[ties.get(name, name)])
        for name in expected
        if ties.get(name, name) in misshapen and (name in misshapen or spelled(name) in stored)
    ]
    return {
        "missing_keys": [spelled(name) for name in missing],
        "unexpected_keys": [
            name
            for name in stored
            if name not in known and not any(re.search(pattern, name) for pattern in ignored or ())
        ],
        "mismatched_keys": mismatched,
        "error_msgs": [],
    }


def _spelling(expected: Sequence[str], stored: Mapping[str, RawTensor]) -> Any:
    """From the class's names to those that the files use."""
    files = any(name.startswith(_PREFIX) for name in stored)
    ours = any(name.startswith(_PREFIX) for name in expected)
    if files and not ours:
        return lambda name: _PREFIX + name
    if ours and not files:
        return lambda name: name.removeprefix(_PREFIX)
    return lambda name: name


def _lost_tables(fitted: Fit, leaves: Mapping[str, Parameter]) -> list[str]:
    missing = set(fitted.report.missing)
    return [
        name
        for name in fitted.absent
        if leaves[name].kind == "positions" and name.replace("embed_positions", "layer_norm") in missing
    ]
