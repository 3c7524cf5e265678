"""Learning in JAX: the engine, the loss, the optimizers."""
