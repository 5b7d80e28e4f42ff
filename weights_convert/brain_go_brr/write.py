"""How a checkpoint of brain-go-brr-v2 is written."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.errors import SpecError, WeightError
from tcnzoo.specs import BiMamba2Spec, ConvBlockSpec, SequentialSpec, Spec, TcnSpec
from tcnzoo.zoo.parse import parse_spec

from ..containers.own import header, to_stored
from ..containers.pt import state_dict_of, write_pt
from ..torch import LAYOUT
from .detect import NAME
from .facts import DEFAULTS, DEFAULTS_OF_TCN, document_of
from .names import MAMBA, names_of

# Fields of a mamba2 that change no output, which the origin leaves to mamba_ssm.
_FREE = ("chunk_size", "implementation", "dt_min", "dt_max", "dt_floor", "a_range")


def write(path: Path, spec: Spec, weights: Weights) -> Mapping[str, str]:
    """Write a plain state_dict that the origin's `SeizureDetector` loads strictly.

    Raises:
        SpecError: a model that is none of its detectors.
    """
    names = names_of(spec)
    if names is None or not _is_detector(path, spec, names):
        raise SpecError(
            f"{NAME} holds the detectors that zoo.foreign.detectors describes, with Bi-Mamba-2 of "
            f"one group and no options, but this is another {spec.kind}"
        )
    stored = to_stored(spec.params(), weights, LAYOUT)
    named = {names[name]: array for name, array in stored.items()}
    write_pt(path, state_dict_of(named | dict(_fillers(spec, named)), header(NAME, spec)))
    return {}


def _is_detector(path: Path, spec: Spec, names: Mapping[str, str]) -> bool:
    """Whether the origin's code makes this model of tensors of these names and shapes."""
    shapes = {names[name]: param.shape for name, param in spec.params().items()}
    try:
        made = parse_spec(document_of(path, shapes, _open_fields(spec)))
    except (SpecError, WeightError):
        return False
    return _plain(made) == _plain(spec)


def _open_fields(spec: Spec) -> dict[str, Any]:
    """What no tensor says, from the parts of a detector."""
    fields = {**DEFAULTS, **DEFAULTS_OF_TCN}
    for _, part in spec.walk():
        if isinstance(part, BiMamba2Spec):
            fields["dropout"] = part.dropout
        elif isinstance(part, TcnSpec):
            fields |= {"tcn_dropout": part.dropout, "causal": part.causal}
        elif isinstance(part, ConvBlockSpec) and isinstance(spec, SequentialSpec):
            fields |= {"tcn_dropout": part.dropout, "causal": part.padding == "causal"}
    return fields


def _plain(spec: Spec) -> dict[str, Any]:
    """The document of a detector without what the origin leaves to mamba_ssm."""
    document = spec.model_dump()
    for layer in document.get("layers", document.get("nodes", {})).values():
        layer = layer.get("layer", layer)
        if layer["kind"] == "bi_mamba2":
            layer["mamba"] = {
                name: value for name, value in layer["mamba"].items() if name not in _FREE
            }
    return document


def _fillers(spec: Spec, named: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """What the origin's state_dict has beside the weights: counters, buffers, stand-ins of zero."""
    for name, array in named.items():
        if name.endswith(".running_mean"):
            yield name.replace("running_mean", "num_batches_tracked"), np.zeros((), np.int64)
        elif name.startswith(MAMBA) and name.endswith("_real.conv1d.weight"):
            width = named[name.replace("conv1d", "out_proj")].shape[0]
            prefix = name.replace("_real.conv1d.weight", "_fallback.")
            yield prefix + "weight", np.zeros((width, 1, array.shape[2]), array.dtype)
            yield prefix + "bias", np.zeros((width,), array.dtype)
    tcn = spec.layers.get("tcn") if isinstance(spec, SequentialSpec) else None
    if isinstance(tcn, TcnSpec):
        yield from _buffers(tcn, named)


def _buffers(tcn: TcnSpec, named: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """The streaming state of pytorch-tcn, empty."""
    dtype = next(iter(named.values())).dtype
    for level in range(len(tcn.channels)):
        block = tcn.block(level)
        reach = (block.kernel_size - 1) * block.dilation
        for conv, inside in (("conv1", block.in_channels), ("conv2", block.channels)):
            name = f"tcn_encoder.tcn.network.{level}.{conv}.padder.buffer"
            yield name, np.zeros((1, inside, reach), dtype)
