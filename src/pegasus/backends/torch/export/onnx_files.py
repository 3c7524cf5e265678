"""A folder for ONNX Runtime: ``encoder.onnx``, ``decoder.onnx``, and int8 by its own quantizer.

Int8 takes two steps, so that what exports is forgotten before the quantizer reads: each holds the weights
several times over.
"""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
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
        int8: whether ``quantize_onnx`` follows: embeddings have 8 bits then, and the matrix that makes
            logits of states is one that the quantizer takes, which it does not where it is the embeddings'.

    Raises:
        NotOffered: a model of another kind.
        BackendMissing: onnx or onnxscript is not installed.
    """
    require_packages(int8)
    for part, name in zip(parts(model, int8), (ENCODER, DECODER), strict=True):
        _write(part, folder / name)


def quantize_onnx(folder: Path) -> None:
    """Keeps the matrices of both files in 8 bits, a scale for each column, and has them multiplied so."""
    for name in (ENCODER, DECODER):
        gc.collect()  # graphs point at themselves, and at the weights of what was exported
        with tempfile.TemporaryDirectory(prefix=".float32-", dir=folder) as aside, _quiet():
            # Both files of weights are called alike, and the quantizer would add to the one that is there.
            files = sorted(folder.glob(f"{name}*"))
            for file in files:
                file.rename(Path(aside) / file.name)
            _quantize(Path(aside) / name, folder / name, external=len(files) > 1)


def _write(part: Part, path: Path) -> None:
    tensors = (*part.module.parameters(), *part.module.buffers())
    weights = sum(weight.numel() * weight.element_size() for weight in {*tensors})
    with _quiet():
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
        program.save(str(path), external_data=weights > _EXTERNAL_ABOVE)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter speaks of its own progress and of its own parts that grow old."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _silenced():
        warnings.simplefilter("ignore")
        yield


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
