"""The tokens of an update, and what each part of a loss counts in it.

A sum over the tokens of a micro-batch becomes its share of the loss by one factor. With that factor an
update is the same whatever micro-batches and processes its rows came in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pegasus.backends.contract import IGNORED, PARTS, Batch
from pegasus.backends.contract.learning import Objective, Ranks

#: Tokens by the part of the loss that counts them.
Counts = dict[str, int]


def count_tokens(batch: Batch, parts: Collection[str]) -> Counts:
    """The tokens that each of these parts of the loss counts, 0 for one without labels in the batch."""
    return {part: _count(batch, part) for part in parts}


def _count(batch: Batch, part: str) -> int:
    if part in ("hidden_states", "attentions"):  # of encoder and decoder
        return source_tokens(batch) + _count(batch, "target")
    labels = PARTS["target" if part == "logits" else part]
    return int((batch[labels] != IGNORED).sum()) if labels in batch else 0


def source_tokens(batch: Batch) -> int:
    """The tokens of the sources, padding left out."""
    if "attention_mask" in batch:
        return int(batch["attention_mask"].sum())
    return int(batch["input_ids"].size) if "input_ids" in batch else 0


def update_totals(
    batches: Sequence[Batch], counts: Sequence[Mapping[str, int]], parts: Sequence[str], ranks: Ranks
) -> tuple[Counts, int]:
    """Tokens of each part, and of the sources, in the whole update of all processes."""
    mine = [sum(count[part] for count in counts) for part in parts]
    *sums, sources = ranks.total([*mine, sum(map(source_tokens, batches))])
    return {part: round(number) for part, number in zip(parts, sums)}, round(sources)


def part_weights(objective: Objective) -> dict[str, float]:
    """What the mean of each part counts in the loss."""
    plain = {"target": objective.target_weight, "mlm": objective.mlm_weight}
    return {
        part: plain[part] if part in plain else getattr(objective.distillation, part)
        for part in objective.all_parts
    }


def part_scales(
    objective: Objective, count: Mapping[str, int], totals: Mapping[str, int], batches: int, ranks: int
) -> dict[str, float]:
    """What turns a micro-batch's sums into its share of the loss.

    Args:
        objective: says over what the mean is taken.
        count: tokens of this micro-batch.
        totals: tokens of the update.
        batches: micro-batches of this process in the update.
        ranks: processes, over which gradients are averaged.
    """
    found = {}
    for part, weight in part_weights(objective).items():
        if objective.normalize == "batches":
            found[part] = weight / (count[part] * batches) if count[part] else 0.0
        else:
            found[part] = weight * ranks / totals[part] if totals[part] else 0.0
    return found
