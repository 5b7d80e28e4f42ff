"""State_dicts of SeizureTransformer, both ways, read without unpickling anything.

Sizes are in the shapes; the number of heads is not, and is assumed to be the project's 4. Neither
is what follows the last convolution: a sigmoid for one channel, and a softmax over the channels is
assumed for several, as in the project's EventTransformer, whose names are the same. A state_dict
holds a layer of the transformer that the net never uses (the one that `nn.TransformerEncoder`
copied) and the table of its sinusoidal positions: both are dropped, with the reason in the report.
When a file is written, the unused layer is a copy of the first.

Source: names and order of operations of keruiwu/SeizureTransformer (MIT), ad59387.
"""

from .detect import NAME, detect
from .read import read, tensors
from .write import write

__all__ = ["DESCRIPTION", "FOREIGN", "NAME", "SUFFIXES", "detect", "read", "tensors", "write"]

DESCRIPTION = "state_dict of SeizureTransformer (.pt, .pth)"
SUFFIXES = (".pt", ".pth", ".safetensors")
FOREIGN = True
