"""A keras-tcn model from its weights alone: what shapes say, and what the caller must."""

import math
import re
from collections.abc import Mapping
from typing import Any

from tcnzoo.errors import InputError, WeightError
from tcnzoo.formats.report import Undetermined

from ..containers.keras import PLACED, Document, KerasFile, weight_groups

# Arguments of keras-tcn's TCN that no shape says -> an example for the command line.
ASKED = {
    "dilations": "1,2,4",
    "padding": "causal",
    "use_skip_connections": "true",
    "return_sequences": "false",
    "activation": "relu",
}
DENSE = "dense_activations"
DEFAULTS: Mapping[str, Any] = {"go_backwards": False, "dropout_rate": 0.0}
HINTS = ("config", *ASKED, *DEFAULTS, DENSE)
# Layers whose place in the model does not matter: Keras 3 writes a group for every layer.
_ANYWHERE = re.compile(r"(input_layer|tcn|dense|dropout|spatial_dropout1d)(_\d+)?")


def document_of(file: KerasFile, given: Mapping[str, Any]) -> tuple[Document, dict[str, Any]]:
    """What `Input -> TCN -> Dense ...` would say of itself, and what was assumed for it.

    Args:
        file: weights alone, placed as Keras 3 places them.
        given: hints.
    Raises:
        Undetermined: hints are missing.
        InputError: hints that contradict the tensors.
        WeightError: no weights of such a net.
    """
    several = any(path.startswith(f"{PLACED}/tcn_1/") for path in file.tensors)
    if file.root != PLACED or several:
        raise Undetermined(
            f"{str(file.path)!r} does not say what its model is; give what model.to_json() gives, "
            "as in: --set config=FILE.json"
        )
    _check_layers(file)
    widths, kernel_size = _blocks(file)
    units = _units(file)
    _check_given(file, given, bool(units))
    dilations = given["dilations"]
    dilations = list(dilations) if isinstance(dilations, list | tuple) else [dilations]
    stacks, rest = divmod(len(widths) - 1, len(dilations))
    if rest or not stacks:
        raise InputError(
            f"{str(file.path)!r} has {len(widths) - 1} blocks, which is no multiple of the "
            f"{len(dilations)} dilations {dilations}"
        )
    tcn = {
        **DEFAULTS,
        **{name: value for name, value in given.items() if name != DENSE},
        "name": "tcn",
        "nb_filters": widths[1 : len(dilations) + 1],
        "kernel_size": kernel_size,
        "nb_stacks": stacks,
        "dilations": dilations,
        **{f"use_{norm}_norm": _has(file, norm) for norm in ("batch", "layer")},
    }
    layers = [
        _layer("InputLayer", {"name": "input", "batch_shape": [None, None, widths[0]]}),
        _layer("TCN", tcn, "tcn"),
        *_dense(file, units, given.get(DENSE, [])),
    ]
    model = {"class_name": "Sequential", "config": {"name": "model", "layers": layers}}
    assumed = {name: value for name, value in DEFAULTS.items() if name not in given}
    return Document(model), {**({"layers": "TCN before Dense"} if units else {}), **assumed}


def _check_layers(file: KerasFile) -> None:
    """Ask for the model where it has layers whose place and options no weights say."""
    others = [name for name in weight_groups(file.path) or () if not _ANYWHERE.fullmatch(name)]
    if others:
        raise Undetermined(
            f"{str(file.path)!r} has layers beside TCN and Dense ({', '.join(others)}), whose "
            "place and options it does not say; give what model.to_json() gives, as in: "
            "--set config=FILE.json"
        )


def _layer(kind: str, config: Mapping[str, Any], module: str = "keras.layers") -> dict[str, Any]:
    """A layer as Keras serialises it."""
    return {"class_name": kind, "module": module, "config": dict(config)}


def _blocks(file: KerasFile) -> tuple[list[int], int]:
    """Channels before the first block and after each, and the kernel size."""
    widths: list[int] = []
    first = kernel_size = 0
    while (kernel := f"{PLACED}/tcn/residual_block_{len(widths)}/conv1D_0/vars/0") in file.tensors:
        shape = file.tensors.facts[kernel].shape
        if len(shape) != 3:
            raise WeightError(f"{kernel!r} must be a kernel (K, in, out), but has shape {shape}")
        if not widths:
            kernel_size, first = int(shape[0]), int(shape[1])
        widths.append(int(shape[2]))
    if not widths:
        raise WeightError(f"{str(file.path)!r} holds no weights of one TCN")
    return [first, *widths], kernel_size


def _has(file: KerasFile, norm: str) -> bool:
    """Whether the first block has a norm."""
    return any(
        path.startswith(f"{PLACED}/tcn/residual_block_0/{norm}_norm_layers/")
        for path in file.tensors
    )


def _units(file: KerasFile) -> list[int]:
    """Units of the dense layers, in order."""
    units: list[int] = []
    while True:
        name = f"dense_{len(units)}" if units else "dense"
        kernel = f"{PLACED}/{name}/vars/0"
        if kernel not in file.tensors:
            return units
        units.append(math.prod(file.tensors.facts[kernel].shape[-1:]))


def _check_given(file: KerasFile, given: Mapping[str, Any], dense: bool) -> None:
    """Ask for the hints that are missing."""
    asked = dict(ASKED)
    if dense:
        asked[DENSE] = "softmax"
    missing = [name for name in asked if name not in given]
    if missing:
        words = " ".join(f"--set {name}={asked[name]}" for name in missing)
        raise Undetermined(
            f"{str(file.path)!r} does not determine {', '.join(missing)}; give the values of the "
            f"net, as in: {words}, or what model.to_json() gives, as in: --set config=FILE.json"
        )
    if DENSE in given and not dense:
        raise InputError(f"{str(file.path)!r} has no dense layers, so it takes no hint {DENSE}")


def _dense(file: KerasFile, units: list[int], activations: Any) -> list[dict[str, Any]]:
    """The dense layers after the TCN."""
    named = list(activations) if isinstance(activations, list | tuple) else [activations]
    if len(named) != len(units):
        raise InputError(
            f"{DENSE} must name one activation for each of the {len(units)} dense layers of "
            f"{str(file.path)!r}, but names {len(named)}"
        )
    return [
        _layer(
            "Dense",
            {
                "name": f"dense_{number}" if number else "dense",
                "units": size,
                "activation": activation,
                "use_bias": f"{PLACED}/dense{f'_{number}' if number else ''}/vars/1"
                in file.tensors,
            },
        )
        for number, (size, activation) in enumerate(zip(units, named, strict=True))
    ]
