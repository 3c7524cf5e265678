"""PLACEHOLDER: the generation room replaces this file; model.py only needs the name TorchGeneration."""


class TorchGeneration:
    """The PyTorch hooks of GenerationMixin, mixed into every model class."""
