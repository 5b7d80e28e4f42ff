"""A float32 graph with its kernels and values in int8, the ranges taken from example signals."""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.runtimes.protocol import ExportOptions


def quantized(model: Any, signals: Array, options: ExportOptions) -> Any:
    """Quantise a model: weights for each output channel, values by the ranges that they take.

    Args:
        model: an onnx.ModelProto with inferred shapes and the one input `x`.
        signals: (count, channels[, time]), representative of what the model will be fed.
        options: that the model was written with.
    Returns:
        An onnx.ModelProto with QuantizeLinear and DequantizeLinear around its operators; inputs and
        outputs stay float32.
    """
    import onnx
    from onnxruntime import quantization

    class Signals(quantization.CalibrationDataReader):  # type: ignore[misc]
        """Hands out the signals, some at a time."""

        def __init__(self) -> None:
            self.batches = _batches(model, signals, 1 if options.dynamic else options.batch_size)

        def get_next(self) -> dict[str, Array] | None:
            return next(self.batches, None)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        root = logging.getLogger()
        level = root.level
        root.setLevel(logging.ERROR)  # it advises to fold what is folded already
        try:
            quantization.quantize_static(
                model,
                path,
                Signals(),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantization.QuantType.QInt8,
                weight_type=quantization.QuantType.QInt8,
                nodes_to_exclude=_kept_float(model),
            )
        finally:
            root.setLevel(level)
        return onnx.load(path)


def _kept_float(model: Any) -> list[str]:
    """Nodes of a block that has a loop or divides by a root; its parts are blocks of their own.

    A loop sums the error over time, and of a mean square that divides, 8 bits leave 0 too often.
    """
    blocks = {node.name: node.name.rpartition("/")[0] for node in model.graph.node}
    kept = {blocks[node.name] for node in model.graph.node if node.op_type in ("Scan", "Sqrt")}
    return [name for name, block in blocks.items() if block in kept]


def _batches(model: Any, signals: Array, size: int) -> Iterator[dict[str, Array]]:
    """Inputs for the calls of the calibration."""
    rank = len(model.graph.input[0].type.tensor_type.shape.dim)
    wide = signals[:, :, None] if rank == signals.ndim + 1 else signals
    for start in range(0, len(wide) - size + 1, size):
        yield {"x": np.asarray(wide[start : start + size], dtype=np.float32)}
