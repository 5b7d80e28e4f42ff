"""Nets of braindecode, both ways: a hub folder, or a state_dict.

A folder has config.json, the arguments of the net's class, and model.safetensors (or
pytorch_model.bin). A state_dict alone says all of a BDTCN and a TCN but the activation; of other
nets the arguments are hints, from a file (`--set config=config.json`) or one by one
(`--set n_times=1000`). Which class it is follows from the names of the tensors.

Nets whose weights are limited in norm in every forward pass (EEGNet, EEGNeX, EEGTCNet) are read
with the limited weights. They are written with weights of which the limit makes the same ones,
with a limit as large as they need where the default is too small.

Source: names, arguments and order of operations of braindecode 1.8.1 (BSD-3-Clause).
"""

from .detect import NAME, detect
from .read import read, tensors
from .write import write

__all__ = ["DESCRIPTION", "FOREIGN", "NAME", "SUFFIXES", "detect", "read", "tensors", "write"]

DESCRIPTION = "net of braindecode: hub folder (config.json, model.safetensors), or state_dict"
SUFFIXES: tuple[str, ...] = ()
FOREIGN = True
