"""What only code written for transformers asks of models in PyTorch."""
