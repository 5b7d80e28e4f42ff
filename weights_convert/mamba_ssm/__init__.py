"""State_dicts of mamba_ssm's `Mamba2`, both ways.

A mamba2 has the names and shapes of that module, so nothing is renamed and nothing is permuted.

Source: names and shapes of https://github.com/state-spaces/mamba (Apache-2.0), `Mamba2`.
"""

from .detect import NAME, detect
from .read import read, tensors
from .write import write

__all__ = ["DESCRIPTION", "FOREIGN", "NAME", "SUFFIXES", "detect", "read", "tensors", "write"]

DESCRIPTION = "state_dict of mamba_ssm's Mamba2 (.pt or .safetensors)"
SUFFIXES = (".pt", ".pth", ".safetensors")
FOREIGN = True
