"""State_dicts of `TemporalConvNet` of locuslab/TCN, both ways.

Such a net is causal (each convolution pads both sides and cuts the right one off again), has relu,
weight norm and the dilations 1, 2, 4, ..., and nothing else, so its shapes say all there is to it.
Each tensor stands in a state_dict twice, because a block keeps its convolutions as `conv1` and
`conv2` and again as members 0 and 4 of `net`.

Source: names and arguments of https://github.com/locuslab/TCN (MIT), Bai, Kolter, Koltun 2018,
arXiv:1803.01271.
"""

from .detect import NAME, detect
from .read import read, tensors
from .write import write

__all__ = ["DESCRIPTION", "FOREIGN", "NAME", "SUFFIXES", "detect", "read", "tensors", "write"]

DESCRIPTION = "state_dict of locuslab/TCN's TemporalConvNet (.pt), with its arguments as .json"
SUFFIXES = (".pt", ".pth")
FOREIGN = True
