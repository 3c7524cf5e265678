"""The configuration of a decoder that stands alone."""

from __future__ import annotations

from pegasus.spec.config import PegasusConfig


def as_decoder(config: PegasusConfig) -> PegasusConfig:
    """A copy of the configuration that says the model is a decoder."""
    values = {**config.to_dict(), "is_decoder": True, "is_encoder_decoder": False}
    decoder: PegasusConfig = type(config).from_dict(values)
    return decoder
