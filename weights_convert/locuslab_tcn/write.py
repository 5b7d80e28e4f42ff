"""How a state_dict of a TemporalConvNet is written."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tcnzoo.files.lazy import Tensors
from tcnzoo.specs import Spec, TcnSpec, WeightNormSpec

from ..containers.own import header
from ..containers.pt import state_dict_of, write_pt
from ..pytorch_tcn.arguments import arguments_beside, kernel_size_obstacles, refuse, the_tcn
from .detect import NAME
from .facts import doubled
from .names import direct_name, with_both_names


def write(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Write a state_dict that `TemporalConvNet(**arguments)` loads strictly, and the arguments.

    Raises:
        SpecError: a model that a TemporalConvNet cannot be.
        InputError: the .json is there and is not one of arguments.
    """
    tcn = the_tcn(NAME, spec)
    refuse(NAME, _obstacles(tcn))
    with arguments_beside(NAME, path, _arguments(tcn)) as temporary:
        document = state_dict_of(with_both_names(weights), header(NAME, spec))
        for name in document:
            document[name] = document[direct_name(name)]  # so that the file holds the values once
        write_pt(temporary, document)
    return {}


def _arguments(spec: TcnSpec) -> dict[str, Any]:
    """Arguments of `TemporalConvNet` that make the net of a spec."""
    return {
        "num_inputs": spec.in_channels,
        "num_channels": list(spec.channels),
        "kernel_size": spec.kernel_sizes[0],
        "dropout": spec.dropout,
    }


def _obstacles(spec: TcnSpec) -> Iterator[str]:
    """Say which fields of a spec no TemporalConvNet has."""
    dilations = doubled(len(spec.channels))
    if not isinstance(spec.norm, WeightNormSpec):
        yield f"norm must be weight_norm, but is {spec.norm.kind if spec.norm else 'none'}"
    if spec.activation.name != "relu":
        yield f"activation must be relu, but is {spec.activation.name}"
    if not spec.causal:
        yield "causal must be true, but is false"
    if spec.padding_mode != "zeros":
        yield f"padding_mode must be 'zeros', but is {spec.padding_mode!r}"
    if list(spec.dilation_of) != dilations:
        yield f"dilations must be {dilations}, but are {list(spec.dilation_of)}"
    yield from kernel_size_obstacles(spec)
    if min(spec.kernel_sizes) == 1:
        yield "kernel_size must be above 1, because it cuts off all where it has padded nothing"
    for field in ("gate", "skip_connections", "embeddings", "squeeze_excitation"):
        if getattr(spec, field):
            yield f"it has no {field}"
    for field in ("output_projection", "output_activation"):
        if getattr(spec, field) is not None:
            yield f"it has no {field}"
