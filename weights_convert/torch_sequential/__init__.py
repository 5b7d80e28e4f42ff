"""State_dicts of an `nn.Sequential`, both ways, with a spec given beside them.

Keys are `0.weight`, `1.running_mean` and so on, perhaps behind the name of the attribute that the
`nn.Sequential` is (`features.0.weight`), and nested ones have several numbers. They say nothing of
strides, activations and pools, so the model comes as a spec: its layers with parameters, in order,
are those of the file. Beside a file that is written stands a .yaml of its name with the module of
torch at each place, and with the spec: `--set spec=FILE.yaml` reads it back.
"""

from .detect import NAME, detect
from .read import read, tensors
from .write import write

__all__ = ["DESCRIPTION", "FOREIGN", "NAME", "SUFFIXES", "detect", "read", "tensors", "write"]

DESCRIPTION = (
    "state_dict of an nn.Sequential (.pt, .safetensors) and its spec; modules as .yaml beside"
)
SUFFIXES = (".pt", ".pth", ".safetensors")
FOREIGN = True
