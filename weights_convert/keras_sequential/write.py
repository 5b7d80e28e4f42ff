"""How a chain of Keras layers is written."""

from collections.abc import Mapping
from pathlib import Path

from tcnzoo.files.lazy import Tensors
from tcnzoo.specs import Spec

from ..keras_chain.write import write_model


def write(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Write a Sequential of Keras layers: a model, or as .weights.h5 its weights.

    Blocks such as conv_block become the layers inside them.

    Raises:
        BackendMissing: Keras is not installed.
        SpecError: a model that no chain of Keras layers is.
    """
    return write_model(path, spec, weights)
