"""Checkpoints of OpenSeizureDetector's DeepEpi net in PyTorch, both ways.

A file holds the net's tensors under `model_state_dict`, beside training state and configuration.
Its shapes say all sizes, and the places in `conv_stack` whether there is dropout after the
convolutions; the strides are those of the origin's code, which its text gives differently. The
net returns logits. It has 14 convolutions there; a file with another number is read and written
just so, but only a net of that number loads it.

Source: OpenSeizureDetector, nnTraining2 (`DeepEpiCnn`, `trainModel_pytorch`): facts only.
"""

from .detect import NAME, detect
from .read import read, tensors
from .write import write

__all__ = ["DESCRIPTION", "FOREIGN", "NAME", "SUFFIXES", "detect", "read", "tensors", "write"]

DESCRIPTION = "OpenSeizureDetector's DeepEpi checkpoint (.pt with model_state_dict)"
SUFFIXES = (".pt", ".pth")
FOREIGN = True
