"""LaBraM's tokenizer VQNSP as its own project saves it, both ways.

It is read as one model that gives amplitude and phase; its `quantizer` gives the codes. The file
has rows for 128 electrodes and does not say which of them the input has: that is the hint
`electrodes`. Nor does it say the number of heads, for queries and keys are not normed: LaBraM has
10.

Source: names and shapes of github.com/935963004/LaBraM (MIT) at c431221, modeling_vqnsp.py and
norm_ema_quantizer.py.
"""

from .detect import NAME, detect
from .read import read, tensors
from .write import write

__all__ = ["DESCRIPTION", "FOREIGN", "NAME", "SUFFIXES", "detect", "read", "tensors", "write"]

DESCRIPTION = "checkpoint of LaBraM's tokenizer VQNSP (.pth), or the state_dict in one"
SUFFIXES = (".pth", ".pt", ".safetensors")
FOREIGN = True
