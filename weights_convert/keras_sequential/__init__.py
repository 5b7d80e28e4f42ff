"""Keras models that are one chain of layers, both ways: .keras, .h5 and .weights.h5.

A file is read without Keras, and nothing that it holds is run. It is written by Keras itself.

Source: Keras 3.15.1 (Apache-2.0).
"""

from ..containers.keras import SUFFIXES
from .detect import NAME, detect
from .read import read, tensors
from .write import write

__all__ = ["DESCRIPTION", "FOREIGN", "NAME", "SUFFIXES", "detect", "read", "tensors", "write"]

DESCRIPTION = "chain of Keras layers (.keras, .h5, or .weights.h5)"
FOREIGN = True
