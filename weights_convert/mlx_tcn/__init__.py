"""Weights of mlx-tcn's `TCN`, both ways, channels last, in .safetensors or .npz.

With weight norm a convolution there has three kernels, of which `weight` alone is computed with:
`weight_g` and `weight_v` are set once and never read, so they are left out of what is read, and
written as a new net with these weights would have them.

Source: mlx-tcn, https://github.com/WeLiteAuto/mlx-tcn, at commits 02a0916 and c84f516.
"""

from .detect import NAME, detect
from .read import read, tensors
from .write import write

__all__ = ["DESCRIPTION", "FOREIGN", "NAME", "SUFFIXES", "detect", "read", "tensors", "write"]

DESCRIPTION = "weights of mlx-tcn's TCN (.safetensors or .npz), with its arguments as .json"
SUFFIXES = (".safetensors", ".npz")
FOREIGN = True
