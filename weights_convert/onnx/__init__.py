"""ONNX graphs of convolutions, norms, activations, pools, sums and dense layers; and our own files.

Source: https://github.com/onnx/onnx/blob/main/docs/Operators.md for what the operators mean.
"""

from .detect import NAME, detect
from .read import read, tensors
from .write import write

__all__ = ["DESCRIPTION", "FOREIGN", "NAME", "SUFFIXES", "detect", "read", "tensors", "write"]

DESCRIPTION = "ONNX graph (.onnx) of convolutions, norms, activations, pools and dense layers"
SUFFIXES = (".onnx",)
FOREIGN = False
