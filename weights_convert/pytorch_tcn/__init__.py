"""State_dicts of pytorch-tcn's `TCN`, both ways.

Source: pytorch-tcn 1.2.3 (MIT), https://github.com/paul-krug/pytorch-tcn.
"""

from .detect import NAME, detect
from .read import read, tensors
from .write import write

__all__ = ["DESCRIPTION", "FOREIGN", "NAME", "SUFFIXES", "detect", "read", "tensors", "write"]

DESCRIPTION = "state_dict of pytorch-tcn's TCN (.pt); its arguments are written beside it as .json"
SUFFIXES = (".pt", ".pth")
FOREIGN = True
