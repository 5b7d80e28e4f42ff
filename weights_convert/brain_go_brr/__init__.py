"""Checkpoints of the seizure detector brain-go-brr-v2, both ways.

A U-Net with residual CNN (version 2.0) or a TCN (up to 2.3), and Bi-Mamba-2 in both. The tensors
tell which it is, and which backbone the TCN has: pytorch-tcn's, or the origin's own without
residuals. Later versions keep the names of the TCN detector but clamp signals on their way, which
no tensor says and no block here does, so the version is asked for. Their graph networks are no part
of a detector here, and refused.

Source: names of brain-go-brr-v2 (Clarity-Digital-Twin, Apache-2.0), versions 2.0 to 2.3.
"""

from .detect import NAME, detect
from .read import read, tensors
from .write import write

__all__ = ["DESCRIPTION", "FOREIGN", "NAME", "SUFFIXES", "detect", "read", "tensors", "write"]

DESCRIPTION = "state_dict of a seizure detector of brain-go-brr-v2 (.pt)"
SUFFIXES = (".pt", ".pth")
FOREIGN = True
