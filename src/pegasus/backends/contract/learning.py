"""What a backend must be able to learn: ``Engine``, and the records that say what, how and where.

Batches of NumPy arrays go into an engine, measures come out. Training sees no tensor, and a backend sees no
file format of ours but the folder that it is told to save into.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pegasus.backends.contract.bounds import DISTILLATION, LORA, OBJECTIVE, OPTIM, check_bounds
from pegasus.backends.contract.inference import Backend
from pegasus.spec.batch import Batch

if TYPE_CHECKING:
    from pegasus.spec.config import PegasusConfig


@dataclass(frozen=True)
class Measures:
    """What one update or one measurement found.

    Attributes:
        sums: the loss summed over the tokens, of each part: cross-entropy in nats of "target" and "mlm",
            and what ``DistillationSettings`` says of "logits", "hidden_states" and "attentions".
        counts: those tokens.
        weights: what each part's mean counts in the loss.
        source_tokens: tokens of the sources, padding left out.
        norm: of the gradient before clipping; NaN where there was none.
        rate: the learning rate used.
        memory: bytes in use on the device at most so far.
        skipped: the gradient was not finite, and nothing was updated.
    """

    sums: Mapping[str, float]
    counts: Mapping[str, int]
    weights: Mapping[str, float] = field(default_factory=dict)
    source_tokens: int = 0
    norm: float = float("nan")
    rate: float = 0.0
    memory: int = 0
    skipped: bool = False

    def mean(self, part: str) -> float:
        """Nats a token of one part; NaN where it has no token."""
        count = self.counts.get(part, 0)
        return self.sums[part] / count if count else float("nan")

    @property
    def loss(self) -> float:
        """The weighted sum of the parts' means; NaN when no token was counted at all."""
        found = [
            self.weights.get(part, 1.0) * self.mean(part) for part, count in self.counts.items() if count
        ]
        return sum(found) if found else float("nan")

    @property
    def tokens(self) -> int:
        """Tokens seen: of sources and targets together."""
        return self.source_tokens + self.counts.get("target", 0)

    @classmethod
    def joined(cls, several: Iterable[Measures]) -> Measures:
        """Several measurements as one: sums are added, of the rest the last or the greatest is kept."""
        listed = list(several)
        parts = sorted({part for one in listed for part in one.counts})
        last = listed[-1]
        return cls(
            sums={part: sum(one.sums.get(part, 0.0) for one in listed) for part in parts},
            counts={part: sum(one.counts.get(part, 0) for one in listed) for part in parts},
            weights={part: weight for one in listed for part, weight in one.weights.items()},
            source_tokens=sum(one.source_tokens for one in listed),
            norm=last.norm,
            rate=last.rate,
            memory=max(one.memory for one in listed),
            skipped=any(one.skipped for one in listed),
        )


@dataclass(frozen=True)
class OptimSettings:
    """How weights are changed.

    Attributes:
        name: "adafactor" (the authors': the rate is relative to the size of each tensor),
            "adafactor-absolute" (the recipe of transformers: an absolute rate, some thirty times as strong
            at equal numbers), "adamw", or "muon" (for matrices inside layers; the rest learns by AdamW).
        rate: the base learning rate.
        others_rate: for "muon", the base rate of what is no matrix inside a layer: embeddings, biases,
            norms. It follows the same schedule. None: 0.15 times ``rate``.
        schedule: see ``pegasus.backends.learning.schedules``.
        warmup_steps: updates until the base rate is reached.
        steps: updates of the whole run; "linear" and "cosine" end there.
        decay: the last share of the run in which those two fall; before that the rate stays as it is.
        clip_norm: the gradient is scaled down to this norm; None: never.
        weight_decay: of matrices, for "adamw", "adafactor-absolute" and "muon".
        betas: of AdamW; None: (0.9, 0.999), and (0.9, 0.98) beside "muon".
        eps: of AdamW.
    """

    name: Literal["adafactor", "adafactor-absolute", "adamw", "muon"] = "adafactor"
    rate: float = 1e-4
    others_rate: float | None = None
    schedule: Literal["authors", "authors-scratch", "constant", "linear", "cosine"] = "authors"
    warmup_steps: int = 10_000
    steps: int = 0
    decay: float = 1.0
    clip_norm: float | None = None
    weight_decay: float = 0.0
    betas: tuple[float, float] | None = None
    eps: float = 1e-8

    def __post_init__(self) -> None:
        check_bounds(self, OPTIM)


@dataclass(frozen=True)
class LoraSettings:
    """Small matrices learned beside frozen ones (LoRA).

    Attributes:
        rank: their inner width.
        alpha: their product is multiplied by ``alpha / rank``.
        dropout: on their input.
        targets: the layers, by the last word of their name.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q_proj", "v_proj")

    def __post_init__(self) -> None:
        check_bounds(self, LORA)


@dataclass(frozen=True)
class DistillationSettings:
    """What a student is to learn of its teacher: the weights of the losses, and what is compared.

    Attributes:
        logits: of the divergence from the teacher's distribution over the vocabulary at each token of the
            target, T² · KL(teacher ‖ student).
        temperature: T, by which both models' logits are divided there.
        hidden_states: of the difference of hidden states: for each token the mean of squares of states that
            are normalized as by a layer norm; where the widths differ, of the cosines between the tokens.
        attentions: of the divergence of attention, KL(teacher ‖ student) of each token's probabilities, the
            mean over heads; where the numbers of heads differ, of the heads' mean.
        encoder_layers: for each layer of the student's encoder the teacher's layer that hidden states and
            attentions are compared with, from 0; None: as ``pegasus.spec.layer_maps`` says.
        decoder_layers: the same of the decoder.
    """

    logits: float = 0.0
    temperature: float = 2.0
    hidden_states: float = 0.0
    attentions: float = 0.0
    encoder_layers: tuple[int, ...] | None = None
    decoder_layers: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        check_bounds(self, DISTILLATION)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the loss that count."""
        return tuple(part for part in ("logits", "hidden_states", "attentions") if getattr(self, part))


@dataclass(frozen=True)
class Objective:
    """What is to be learned.

    Attributes:
        parts: which losses count, of those that a batch has labels for: "target" (``labels``: the gap
            sentences or the summary), "mlm" (``mlm_labels``: the hidden words, guessed by the encoder
            through the tied embeddings).
        label_smoothing: the share of the truth that is spread evenly over the whole vocabulary, the right
            token included (authors: 0.1 in fine-tuning, 0 in pre-training).
        mlm_weight: what the mean loss of the hidden words counts beside that of the target.
        target_weight: what the mean loss of the target counts; for a student less than 1, beside its
            teacher.
        distillation: what is learned of a teacher; None: nothing.
        normalize: "tokens": the mean over all tokens of an update, so that accumulation and more processes
            change nothing; "batches": the mean of each micro-batch, then the mean of those, as authors.
        dropout: "elementwise" as transformers; "broadcast" as the authors: one mask for all positions of a
            text, and one for the attentions of all texts and heads.
        frozen: what does not learn: "embeddings", "encoder", "decoder".
        lora: learn small matrices beside the frozen rest.
        seed: of dropout.
    """

    parts: tuple[Literal["target", "mlm"], ...] = ("target", "mlm")
    label_smoothing: float = 0.0
    mlm_weight: float = 1.0
    target_weight: float = 1.0
    distillation: DistillationSettings | None = None
    normalize: Literal["tokens", "batches"] = "tokens"
    dropout: Literal["elementwise", "broadcast"] = "elementwise"
    frozen: tuple[Literal["embeddings", "encoder", "decoder"], ...] = ()
    lora: LoraSettings | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_bounds(self, OBJECTIVE)

    @property
    def all_parts(self) -> tuple[str, ...]:
        """The parts of the loss of an update; ``parts`` are those that are measured on held-out data."""
        return (*self.parts, *(self.distillation.parts if self.distillation is not None else ()))


@dataclass(frozen=True)
class Placement:
    """Where it is learned and in which numbers.

    Attributes:
        device: "auto", "cpu", "cuda".
        precision: "float32"; "bfloat16" or "float16": matrix products in that type, weights and sums in
            float32. float16 scales the loss.
        spread: over several processes (JAX: devices of one), "ddp" keeps all weights in each, "fsdp" a
            share; "tensor", for JAX alone, spreads the matrices of every layer; "auto" is "ddp".
        gradient_checkpointing: compute the activations of each layer again instead of keeping them.
        packing: compute no padding: the tokens of a batch stand one behind another (torch).
        compile: let the framework's compiler make the kernels of the layers (torch; JAX always does).
    """

    device: str = "auto"
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    spread: Literal["auto", "ddp", "fsdp", "tensor"] = "auto"
    gradient_checkpointing: bool = False
    packing: bool = False
    compile: bool = False


class Ranks(Protocol):
    """The processes that learn together, as one of them sees it."""

    @property
    def rank(self) -> int:
        """This one's number."""
        ...

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    def wait(self) -> None:
        """Until all are here."""
        ...

    def any(self, flag: bool) -> bool:
        """Whether it is true for at least one."""
        ...

    def total(self, numbers: Sequence[float]) -> list[float]:
        """Sums over all, number by number."""
        ...

    def leave(self) -> None:
        """Work alone from now on."""
        ...


class Engine(Protocol):
    """What a device can learn. With several processes, every method is called by all of them together."""

    def step(self, batches: Sequence[Batch], progress: float = 0.0) -> Measures:
        """One update over all these micro-batches; the measures are those of all processes.

        Args:
            batches: the micro-batches of this process.
            progress: the share of the run's time that is gone, where it has a deadline; schedules that fall
                follow the clock or the steps, whichever is further.
        """
        ...

    def measure(self, batch: Batch) -> Measures:
        """The loss without smoothing, dropout or update; the measures are this process's own."""
        ...

    def save(self, folder: Path) -> None:
        """Everything needed to go on exactly: weights, state of the optimizer, random numbers."""
        ...

    def load(self, folder: Path) -> None:
        """What ``save`` wrote, on any number of processes."""
        ...

    def export(self, folder: Path) -> None:
        """The model as a checkpoint that ``from_pretrained`` reads."""
        ...


class LearningBackend(Backend, Protocol):
    """A backend that learns too."""

    def fresh(self, kind: str, config: PegasusConfig, initial: str, seed: int) -> Any:
        """A model with weights of its own, drawn as the "authors" or as "transformers" do.

        Args:
            kind: a key of ``models``.
            config: its shape.
            initial: how weights are drawn.
            seed: what chance starts from.
        """
        ...

    def join(self, placement: Placement) -> Ranks:
        """Find the other processes, where a launcher has started several."""
        ...

    def engine(
        self,
        model: Any,
        optim: OptimSettings,
        objective: Objective,
        placement: Placement,
        ranks: Ranks,
        teacher: Any = None,
    ) -> Engine:
        """An engine that teaches this model, which is one of ``models``.

        Args:
            model: what learns.
            optim: how weights are changed.
            objective: what is learned.
            placement: where, and in which numbers.
            ranks: the processes.
            teacher: a model of the same kind and vocabulary that ``objective.distillation`` compares with.

        Raises:
            NotOffered: this backend cannot learn that.
        """
        ...
