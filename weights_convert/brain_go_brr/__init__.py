"""Checkpoints of the seizure detector brain-go-brr-v2, both ways.

A U-Net with residual CNN (version 2.0) or a TCN (up to 2.3), and Bi-Mamba-2 in both. The tensors
tell which it is, and which backbone the TCN has: pytorch-tcn's, or the origin's own without
residuals. Later versions keep the names of the TCN detector but clamp signals on their way, which
no tensor says and no block here does, so the version is asked for. Their graph networks are no part
of a detector here, and refused.

Source: names of brain-go-brr-v2 (Clarity-Digital-Twin, Apache-2.0), versions 2.0 to 2.3.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.formats.report import Converted, Undetermined
from tcnzoo.specs import BiMamba2Spec, ConvBlockSpec, SequentialSpec, Spec, TcnSpec
from tcnzoo.zoo.parse import parse_spec

from ..containers.own import check_mark, header, mark, to_stored
from ..containers.pt import state_dict_of, write_pt
from ..containers.state_dicts import PREFIX, Net, net_in, open_state_dict, sorted_out
from ..hints import check_hints
from ..mamba_ssm import names_in
from ..torch import LAYOUT
from .facts import DEFAULTS, DEFAULTS_OF_TCN, document_of, is_tcn
from .names import MAMBA, current_name, names_of, reason_to_drop

NAME = "brain-go-brr"
DESCRIPTION = "state_dict of a seizure detector of brain-go-brr-v2 (.pt)"
SUFFIXES = (".pt", ".pth")
FOREIGN = True
FIELDS = (*DEFAULTS, *DEFAULTS_OF_TCN)
VERSION = "version"
# From 3.0.0 on the decoded signal is clamped at 40, from 3.1.1 on input and Mamba-2 at 10 and 5.
CLAMPING, CLAMPING_ALL = (3, 0, 0), (3, 1, 1)

# A tensor that every such detector has, and what stands before it in a checkpoint.
ROOT = re.compile(r"(.*\.|)mamba\.layers\.0\.layer_norm\.weight$")
# Fields of a mamba2 that change no output, which the origin leaves to mamba_ssm.
_FREE = ("chunk_size", "implementation", "dt_min", "dt_max", "dt_floor", "a_range")


def detect(path: Path) -> bool:
    """Whether the names in a .pt or .safetensors file are those of such a detector."""
    said, names = names_in(path)
    if said.startswith("tcnzoo"):
        return said == mark(NAME)
    return any(ROOT.match(name) for name in names)


def tensors(path: Path) -> Weights:
    """Every tensor of the file."""
    return open_state_dict(path)[0]


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a state_dict, alone or in a checkpoint of training.

    Raises:
        Undetermined: several detectors in one file, or a TCN whose version nobody has told.
        InputError: a hint that is unknown.
        WeightError: no such detector, or one without Mamba-2.
    """
    held, notes = open_state_dict(path)
    check_mark(NAME, path, notes)
    given = check_hints(NAME, hints, (*FIELDS, PREFIX, VERSION))
    net = net_in(path, held, ROOT, given)
    shapes = {current_name(name): tuple(array.shape) for name, array in net.tensors.items()}
    defaults = {**DEFAULTS, **(DEFAULTS_OF_TCN if is_tcn(shapes) else {})}
    fields = {**defaults, **{name: given[name] for name in FIELDS if name in given}}
    spec = parse_spec(document_of(path, shapes, fields))
    assumed = {name: value for name, value in defaults.items() if name not in given}
    converted = _sorted(path, net, spec, assumed)
    if is_tcn(shapes) and notes.get("format") != mark(NAME):
        left_out = _version(path, given.get(VERSION))
        converted = replace(converted, assumed={**left_out, **converted.assumed})
    return converted


def _version(path: Path, told: Any) -> dict[str, str]:
    """What is left out of a TCN detector of some version, for the report.

    Raises:
        Undetermined: no version.
        InputError: no such version, or one that clamps what goes into its blocks.
    """
    if told is None:
        raise Undetermined(
            f"{str(path)!r} does not say of which version of brain-go-brr-v2 it is, and later ones "
            "clamp their signals; give it: --set version=2.3, or the release's own number"
        )
    numbers = str(told).removeprefix("v").split(".")
    if not all(number.isdecimal() for number in numbers) or not 1 <= len(numbers) <= 3:
        raise InputError(f"hint 'version' must be a number such as 2.3 or 3.0.1, but is {told!r}")
    version = (*map(int, numbers), 0, 0)[:3]
    if version >= CLAMPING_ALL:
        raise InputError(
            f"version {told} of brain-go-brr-v2 clamps its input at 10 and the signals of Mamba-2 "
            "at 10 and 5, which no block here does; with version=3.1.0 the weights are read "
            "without these clamps"
        )
    if version >= CLAMPING:
        return {"clamp": f"none, where version {told} keeps the decoded signal within 40"}
    return {}


def _sorted(path: Path, net: Net, spec: Spec, assumed: Mapping[str, Any]) -> Converted:
    """Take the tensors by their neutral names."""
    names = names_of(spec)
    assert names is not None
    neutral = {foreign: name for name, foreign in names.items()}
    return sorted_out(
        path,
        net,
        spec,
        assumed,
        lambda name: neutral.get(current_name(name), name),
        lambda name: reason_to_drop(current_name(name)),
        LAYOUT,
    )


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
            place = name.replace("_real.conv1d.weight", "_fallback.")
            yield place + "weight", np.zeros((width, 1, array.shape[2]), array.dtype)
            yield place + "bias", np.zeros((width,), array.dtype)
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
            place = f"tcn_encoder.tcn.network.{level}.{conv}.padder.buffer"
            yield place, np.zeros((1, inside, reach), dtype)
