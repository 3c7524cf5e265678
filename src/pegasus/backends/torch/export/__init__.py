"""Models for other runtimes: what PyTorch's own exporters make of them."""
