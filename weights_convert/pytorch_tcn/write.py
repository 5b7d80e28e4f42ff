"""How a state_dict of pytorch-tcn is written."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.files.lazy import Tensors
from tcnzoo.specs import BatchNormSpec, Spec, TcnSpec

from ..containers.own import header
from ..containers.pt import state_dict_of, write_pt
from .arguments import arguments_beside, arguments_of, the_tcn
from .detect import NAME
from .names import foreign_name


def write(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Write a plain state_dict that `TCN(**arguments)` loads strictly, and the arguments as .json.

    Raises:
        SpecError: a model that pytorch-tcn cannot hold.
        InputError: the .json is there and is not one of arguments.
    """
    with arguments_beside(NAME, path, arguments_of(spec)) as temporary:
        named = {foreign_name(name): array for name, array in weights.items()}
        named |= _fillers(the_tcn(NAME, spec), weights)
        write_pt(temporary, state_dict_of(named, header(NAME, spec)))
    return {}


def _fillers(spec: TcnSpec, weights: Tensors) -> dict[str, Array]:
    """What pytorch-tcn's state_dict has beside the weights, as a new net has it."""
    dtype = next(iter(weights.values())).dtype
    fillers: dict[str, Array] = {}
    for level in range(len(spec.channels)):
        prefix, block = f"network.{level}", spec.block(level)
        reach = (block.kernel_size - 1) * block.dilation
        for conv, inside in (("conv1", block.in_channels), ("conv2", block.channels)):
            fillers[f"{prefix}.{conv}.padder.buffer"] = np.zeros((1, inside, reach), dtype)
        if isinstance(spec.norm, BatchNormSpec):
            for norm in ("norm1", "norm2"):
                fillers[f"{prefix}.{norm}.num_batches_tracked"] = np.zeros((), np.int64)
        if spec.embeddings and spec.embedding_mode == "add":
            shape = (block.inner, 2 * block.inner, 1)
            fillers[f"{prefix}.embedding_projection_2.weight"] = np.zeros(shape, dtype)
            fillers[f"{prefix}.embedding_projection_2.bias"] = np.zeros(shape[:1], dtype)
    return fillers
