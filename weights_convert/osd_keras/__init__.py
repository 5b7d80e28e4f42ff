"""The DeepEpi net of OpenSeizureDetector in Keras, both ways: .keras and .h5.

A chain of convolution blocks, a global average, dense blocks and a dense layer with a softmax is
read with the names of the preset `deepepi`, and with its own constants: Keras's batch norm has eps
1e-3, with which the probabilities differ visibly from those with 1e-5.

Source: OpenSeizureDetector, nnTraining2 (`DeepEpiCnnModel`): facts only.
"""

from .detect import NAME, detect
from .read import read, tensors
from .write import write

__all__ = ["DESCRIPTION", "FOREIGN", "NAME", "SUFFIXES", "detect", "read", "tensors", "write"]

DESCRIPTION = "OpenSeizureDetector's DeepEpi net in Keras (.keras or .h5)"
SUFFIXES = (".keras", ".h5")
FOREIGN = True
