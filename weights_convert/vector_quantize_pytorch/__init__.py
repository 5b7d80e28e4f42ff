"""State_dicts of vector-quantize-pytorch's `VectorQuantize` and `ResidualVQ`, both ways.

A codebook is `_codebook.embed` (1, K, channels) with `embed_avg`, `cluster_size` (1, K) and the
flag `initted`; the levels of a ResidualVQ stand under `layers.0`, `layers.1`, ... The file does not
say how it was trained, nor how codes are searched for (heads, beams), so that is assumed as the
library's defaults have it, unless hints say else.

Source: names and shapes of https://github.com/lucidrains/vector-quantize-pytorch (MIT).
"""

from .detect import NAME, detect
from .read import read, tensors
from .write import write

__all__ = ["DESCRIPTION", "FOREIGN", "NAME", "SUFFIXES", "detect", "read", "tensors", "write"]

DESCRIPTION = "state_dict of vector-quantize-pytorch's VectorQuantize or ResidualVQ"
SUFFIXES = (".pt", ".pth", ".safetensors")
FOREIGN = True
