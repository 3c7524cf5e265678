"""What the front of a server knows of its model: what settings are measured by, and what `/info` says."""

from __future__ import annotations

from dataclasses import dataclass

from pegasus.summarizer import Settings, Summarizer


@dataclass(frozen=True)
class ModelFacts:
    """A model that was opened, without the model: it may be another process that holds it.

    Attributes:
        name: the checkpoint's name.
        settings: those of texts that name none.
        limit: how many tokens the model was made for.
        input_tokens: how many it reads at once, the end token included.
        summary_tokens: how many it writes at most, where nobody says.
        beams: those that it searches with, where nobody names another number.
        device: where it computes, if it says.
        dtype: in what, if it says.
    """

    name: str
    settings: Settings
    limit: int
    input_tokens: int
    summary_tokens: int
    beams: int
    device: str | None
    dtype: str | None

    @classmethod
    def of(cls, summarizer: Summarizer) -> ModelFacts:
        """Ask a summarizer."""
        writer, model = summarizer.writer, getattr(summarizer.writer, "model", None)
        return cls(
            name=summarizer.name,
            settings=summarizer.settings,
            limit=writer.limit,
            input_tokens=min(writer.limit, summarizer.reader.limit),
            summary_tokens=writer.usual.most,
            beams=writer.beams,
            device=None if model is None else str(model.device),
            dtype=None if model is None else str(model.dtype).removeprefix("torch."),
        )
