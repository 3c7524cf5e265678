"""PEGASUS in PyTorch: the reading of ``pegasus.spec`` as ``torch.nn`` modules."""
