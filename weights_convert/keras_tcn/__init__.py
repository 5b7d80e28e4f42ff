"""Models of keras-tcn: a chain of Keras layers with `TCN` among them, read from .keras and .h5.

Source: keras-tcn 3.5.6, and for weight norm 3.5.0 (MIT), https://github.com/philipperemy/keras-tcn.
"""

from ..containers.keras import SUFFIXES
from .detect import NAME, detect
from .read import read, tensors
from .write import write

__all__ = ["DESCRIPTION", "FOREIGN", "NAME", "SUFFIXES", "detect", "read", "tensors", "write"]

DESCRIPTION = "model of keras-tcn's TCN layer (.keras, .h5 or .weights.h5); read only"
FOREIGN = True
