"""Learning in PyTorch: the engine, losses, optimizers, ranks."""
