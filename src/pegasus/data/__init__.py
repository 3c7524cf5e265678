"""Documents on their way to a model: read, cut into sentences, prepared, masked, batched."""
