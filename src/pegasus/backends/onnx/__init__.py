"""Inference by ONNX Runtime, of a folder that `pegasus export --to onnx` made."""
