"""State_dicts of `TemporalConvNet` of locuslab/TCN, both ways.

Such a net is causal (each convolution pads both sides and cuts the right one off again), has relu,
weight norm and the dilations 1, 2, 4, ..., and nothing else, so its shapes say all there is to it.
Each tensor stands in a state_dict twice, because a block keeps its convolutions as `conv1` and
`conv2` and again as members 0 and 4 of `net`.

Source: names and arguments of https://github.com/locuslab/TCN (MIT), Bai, Kolter, Koltun 2018,
arXiv:1803.01271.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tcnzoo.arrays import Weights
from tcnzoo.errors import WeightError
from tcnzoo.files.lazy import Tensors
from tcnzoo.formats.report import Converted
from tcnzoo.specs import Spec, TcnSpec, WeightNormSpec

from ..containers.own import header
from ..containers.pt import state_dict_of, write_pt
from ..containers.state_dicts import PREFIX, Net, net_in, open_state_dict, sorted_out
from ..hints import check_hints
from ..pytorch_tcn.arguments import arguments_beside, kernel_size_obstacles, refuse, the_tcn
from ..pytorch_tcn.detect import LOCUSLAB, ROOT, projects
from ..pytorch_tcn.facts import current_name, facts_of, neutral_name
from ..pytorch_tcn.spec import HINTS, agreeing, completed, written_in
from ..torch import LAYOUT

NAME = LOCUSLAB
DESCRIPTION = "state_dict of locuslab/TCN's TemporalConvNet (.pt), with its arguments as .json"
SUFFIXES = (".pt", ".pth")
FOREIGN = True

# What every such net has, whatever its tensors are.
CONSTANT: Mapping[str, Any] = {
    "causal": True,
    "activation": "relu",
    "gate": False,
    "skip_connections": False,
    "output_projection": None,
    "output_activation": None,
}
DEFAULTS: Mapping[str, Any] = {"dropout": 0.2}

# Member of `net` -> the convolution that it is.
_MEMBERS = {"0": "conv1", "4": "conv2"}
_MEMBER = re.compile(r"(network\.\d+)\.net\.([04])\.(.+)")
_CONVOLUTION = re.compile(r"(network\.\d+)\.(conv[12])\.(.+)")


def detect(path: Path) -> bool:
    """Whether the names in a .pt or .safetensors file may be those of a TemporalConvNet."""
    return NAME in projects(path)


def tensors(path: Path) -> Weights:
    """Every tensor of the file, each under all of its names."""
    return open_state_dict(path)[0]


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a state_dict, of the old and of the parametrised weight norm, or without one.

    The net may be part of a larger model, whose other tensors are dropped, and its state_dict part
    of a training checkpoint.

    Raises:
        Undetermined: several such nets.
        InputError: a hint that is unknown or contradicts the file.
        WeightError: no state_dict of this net, or two names of one tensor that differ.
    """
    held, notes = open_state_dict(path)
    written = written_in(NAME, path, notes)
    given = check_hints(NAME, hints, HINTS)
    found = _with_one_name_each(path, net_in(path, held, ROOT, given))
    fields = {name: value for name, value in given.items() if name != PREFIX}
    assumed: Mapping[str, Any] = {}
    if written is not None:
        spec = agreeing(path, written.model_dump(mode="json"), fields)
    else:
        spec, assumed = completed(path, _facts(found), fields, DEFAULTS)
    return sorted_out(path, found, spec, assumed, _neutral, lambda name: None, LAYOUT)


def _facts(net: Net) -> dict[str, Any]:
    """Fields of the spec: some from the shapes, the others the same for all such nets."""
    shapes = {current_name(_direct(name)): array.shape for name, array in net.tensors.items()}
    facts = {**facts_of(shapes), **CONSTANT}
    if facts["norm"] != "weight_norm":
        facts["norm"] = "none"  # others have tensors, which are then no part of the net
    return {**facts, "dilations": _dilations(len(facts["channels"]))}


def _dilations(depth: int) -> list[int]:
    """1, 2, 4, ..."""
    return [2**level for level in range(depth)]


def _direct(name: str) -> str:
    """The name of a tensor by way of its convolution."""
    match = _MEMBER.fullmatch(name)
    return f"{match[1]}.{_MEMBERS[match[2]]}.{match[3]}" if match else name


def _neutral(name: str) -> str:
    """Neutral name of a tensor under either of its names."""
    return neutral_name(current_name(_direct(name)))


def _with_one_name_each(path: Path, net: Net) -> Net:
    """The net without second names, which stand among what is beside it.

    Raises:
        WeightError: two names of one tensor that hold different values.
    """
    kept, beside = {}, dict(net.beside)
    for name, array in net.tensors.items():
        direct = _direct(name)
        if direct == name or direct not in net.tensors:
            kept[name] = array
            continue
        same = net.tensors[direct]
        if (array.dtype, array.shape, array.tobytes()) != (same.dtype, same.shape, same.tobytes()):
            raise WeightError(
                f"{net.prefix + name!r} of {str(path)!r} must be the same tensor as "
                f"{net.prefix + direct!r}, but differs from it"
            )
        beside[net.prefix + name] = "the same tensor under a second name"
    return replace(net, tensors=kept, beside=beside)


def write(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Write a state_dict that `TemporalConvNet(**arguments)` loads strictly, and the arguments.

    Raises:
        SpecError: a model that a TemporalConvNet cannot be.
        InputError: the .json is there and is not one of arguments.
    """
    tcn = the_tcn(NAME, spec)
    refuse(NAME, _obstacles(tcn))
    with arguments_beside(NAME, path, _arguments(tcn)) as temporary:
        document = state_dict_of(_named(weights), header(NAME, spec))
        for name in document:
            document[name] = document[_direct(name)]  # so that the file holds the values once
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


def _named(weights: Tensors) -> Weights:
    """Weights under the names of a TemporalConvNet, those of a convolution under both."""
    members = {conv: member for member, conv in _MEMBERS.items()}
    named: Weights = {}
    for neutral, array in weights.items():
        name = neutral.replace("blocks.", "network.").replace(".residual.", ".downsample.")
        named[name] = array
        match = _CONVOLUTION.fullmatch(name)
        if match:
            named[f"{match[1]}.net.{members[match[2]]}.{match[3]}"] = array
    return named


def _obstacles(spec: TcnSpec) -> Iterator[str]:
    """Say which fields of a spec no TemporalConvNet has."""
    dilations = _dilations(len(spec.channels))
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
