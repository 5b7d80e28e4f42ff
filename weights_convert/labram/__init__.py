"""LaBraM as its own project saves it, both ways: pre-trained, fine-tuned, or part of more.

A file of masked pre-training holds `student.*` and the head of codes beside it; of fine-tuning, the
bare names. The file has rows for 128 electrodes and does not say which of them the input has: that
is the hint `electrodes`, and without it the input has all of them. Neither does it say the number
of heads where queries and keys are not normed.

Pre-training gives the leading token the row of the first electrode, fine-tuning its own; `cls` says
which is meant where the names do not.

Source: names and shapes of github.com/935963004/LaBraM (MIT) at c431221.
"""

from .detect import NAME, detect
from .read import read, tensors
from .write import write

__all__ = ["DESCRIPTION", "FOREIGN", "NAME", "SUFFIXES", "detect", "read", "tensors", "write"]

DESCRIPTION = "LaBraM's checkpoint, pre-trained or fine-tuned (.pth), or the state_dict in one"
SUFFIXES = (".pth", ".pt", ".safetensors")
FOREIGN = True
