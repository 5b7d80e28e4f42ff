"""How the DeepEpi net is written to a Keras file."""

from collections.abc import Mapping
from pathlib import Path

from tcnzoo.errors import InputError
from tcnzoo.files.lazy import Tensors
from tcnzoo.specs import Spec

from ..keras_chain.blocks import parts_of
from ..keras_chain.write import write_model
from .net import cut_chain


def write(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Write the chain of Keras layers that such a net is.

    Raises:
        BackendMissing: Keras is not installed.
        InputError: the name of a file of weights alone, which say neither eps nor strides.
        SpecError: another net, or one that ends with logits.
    """
    if path.name.lower().endswith(".weights.h5"):
        raise InputError(
            f"osd-keras is a whole model, but {str(path)!r} would be weights alone; write .keras, "
            "or .h5"
        )
    cut_chain(list(parts_of(spec)))
    return write_model(path, spec, weights)
