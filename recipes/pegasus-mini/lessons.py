"""What a batch teaches: the right words, hidden ones, or what a larger model would have said."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from feeding import Batch
from scales import Settings
from torch import Tensor, nn
from torch.nn import functional

from pegasus import PegasusForConditionalGeneration
from pegasus.backends.contract import Objective
from pegasus.backends.learning.accounting import count_tokens
from pegasus.backends.torch.learning.learner import Learner, to_device


class Lesson(Protocol):
    """A model and what it is to learn from a batch."""

    learner: Learner
    device: torch.device

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """The ``loss`` to be made smaller, and the parts that it is made of, nats a token."""
        ...


class Plain:
    """The words of the target and, where a batch has hidden some of the source, those."""

    def __init__(self, model: PegasusForConditionalGeneration, settings: Settings) -> None:
        self.settings, self.device = settings, model.device
        parts: tuple[Any, ...] = ("target", "mlm") if settings.get("word_ratio") else ("target",)
        self.learner = Learner(model, Objective(parts=parts))

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropies; that of hidden words counts ``mlm_weight``."""
        counts = count_tokens(batch, self.learner.objective.parts)
        weights = {"target": 1.0, "mlm": self.settings.get("mlm_weight", 0.0)}
        scales = {part: weights[part] / count if count else 0.0 for part, count in counts.items()}
        tensors = to_device(batch, self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            loss, sums = self.learner(tensors, scales, self.settings["label_smoothing"])
        if len(counts) == 1:
            return {"loss": loss}
        means = {part: found / max(1, counts[part]) for part, found in zip(counts, sums, strict=True)}
        return {"loss": loss, **means}


class Distilled:
    """The words of the target, and the teacher's distribution over all words at each of its places.

    With a the share ``soft``, T the ``temperature``, p the teacher and q the student::

        (1 - a) · cross-entropy of the target  +  a · T² · KL(p^(1/T) ‖ q^(1/T))

    T² keeps the gradient of the second part as large as it is without a temperature (Hinton et al., 2015).
    """

    def __init__(
        self,
        model: PegasusForConditionalGeneration,
        teacher: PegasusForConditionalGeneration,
        settings: Settings,
    ) -> None:
        self.settings, self.device = settings, model.device
        self.learner = Learner(model, Objective(parts=("target",)))
        self.teacher = teacher.eval().requires_grad_(False)

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """The loss, and both of its parts."""
        tensors = to_device(batch, self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = _logits(self.learner.model, tensors)
            with torch.no_grad():
                wanted = _logits(self.teacher, tensors)
        labels = tensors["labels"].flatten()[tensors["labels_places"]]
        right = functional.cross_entropy(logits, labels, label_smoothing=self.settings["label_smoothing"])
        soft = divergence(wanted, logits, self.settings["temperature"])
        share = self.settings["soft"]
        return {"loss": (1 - share) * right + share * soft, "target": right, "teacher": soft}


def divergence(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """T² KL(teacher ‖ student) of logits [N, V] at a temperature T, the mean of N places."""
    wanted = functional.log_softmax(teacher / temperature, dim=-1)
    found = functional.log_softmax(student / temperature, dim=-1)
    return temperature**2 * functional.kl_div(found, wanted, reduction="batchmean", log_target=True)


def _logits(model: PegasusForConditionalGeneration, tensors: dict[str, Tensor]) -> Tensor:
    """What a model says at the places that count, [N, V] in float32."""
    states = model.model(
        tensors["input_ids"],
        attention_mask=tensors.get("attention_mask"),
        decoder_input_ids=model.prepare_decoder_input_ids_from_labels(tensors["labels"]),
        use_cache=False,
    ).last_hidden_state
    head: nn.Module = model.lm_head
    found: Tensor = head(states.flatten(0, 1)[tensors["labels_places"]]).float()
    return found
