"""A folder for ONNX Runtime: ``encoder.onnx``, ``decoder.onnx``, and int8 by its own quantizer."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any

import torch

from pegasus.backends.torch.export.modules import Part, parts
from pegasus.errors import BackendMissing

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
_EXTERNAL_ABOVE = 1_500_000_000  # bytes of weights: one file of ONNX ends at 2 GiB


def write_onnx(model: Any, folder: Path, int8: bool = False) -> None:
    """Writes both files, their weights beside them where one file could not hold them.

    Args:
        model: a ``PegasusForConditionalGeneration`` on a CPU in float32.
        folder: an existing folder.
        int8: whether the matrices are kept in 8 bits, and multiplied so.

    Raises:
        NotOffered: a model of another kind.
        BackendMissing: onnx, onnxscript or onnxruntime is not installed.
    """
    require_packages(int8)
    for part, name in zip(parts(model), (ENCODER, DECODER), strict=True):
        _write(part, folder / name, int8)


def _write(part: Part, path: Path, int8: bool) -> None:
    weights = sum(weight.numel() * weight.element_size() for weight in {*part.module.parameters()})
    external = weights > _EXTERNAL_ABOVE
    plain = path.with_name(f"plain-{path.name}") if int8 else path
    # The exporter speaks of its own progress and of its own parts that grow old.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _silenced():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            part.module,
            part.inputs,
            dynamo=True,
            input_names=part.names[0],
            output_names=part.names[1],
            dynamic_shapes=part.sizes,
        )
        assert program is not None, "only the other exporter gives nothing back"
        _forget_where(program.model)
        program.save(str(plain), external_data=external)
        if int8:
            _quantize(plain, path, external)


def _forget_where(model: Any) -> None:
    """Each node notes the lines of Python that it came from, with the paths of this machine."""
    graphs = [model.graph, *(function.graph for function in model.functions.values())]
    for graph in graphs:
        graph.metadata_props.clear()
        for node in graph.all_nodes():
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()
    model.metadata_props.clear()


def _quantize(plain: Path, path: Path, external: bool) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        plain,
        path,
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gemm"],
        use_external_data_format=external,
        extra_options={"MatMulConstBOnly": True},
    )
    for old in plain.parent.glob(f"{plain.name}*"):
        old.unlink()


@contextlib.contextmanager
def _silenced() -> Any:
    """Without what the libraries log about names and shapes that they make up."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "torch.onnx", "onnx_ir", "root")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def require_packages(int8: bool) -> None:
    """Raise ``BackendMissing`` where a package is missing."""
    import importlib.util

    wanted = ["onnx", "onnxscript", *(["onnxruntime"] if int8 else [])]
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        raise BackendMissing(
            f"ONNX files are written by {', '.join(missing)}, which is not installed: pip install "
            "'pegasus-summarizer[export]'"
        )
