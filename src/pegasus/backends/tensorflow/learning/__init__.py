"""Learning in TensorFlow: the engine, the loss, the optimizers."""
