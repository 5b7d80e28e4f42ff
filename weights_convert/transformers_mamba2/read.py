"""How a Mamba-2 model of transformers is read."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tcnzoo.arrays import Array, Weights
from tcnzoo.checkpoints.directory import TENSORS, read_safetensors
from tcnzoo.errors import WeightError
from tcnzoo.formats.report import Converted, Undetermined
from tcnzoo.specs import GraphSpec, Mamba2Spec, RmsNormSpec, Spec

from ..containers.own import check_mark
from ..containers.state_dicts import PREFIX, Net, assign_tensors, net_in, open_state_dict
from ..hints import parse_hints
from ..mamba_ssm.detect import ROOT
from ..mamba_ssm.facts import facts_of
from ..mamba_ssm.read import assign_mamba
from ..mamba_ssm.spec import FIELDS, mamba_from_facts
from ..torch import LAYOUT
from .config import (
    CONFIG,
    check_layers,
    check_shapes,
    fields_of,
    needed_config,
)
from .detect import NAME, STACK
from .graph import stack_spec
from .layers import layers_of, one_layer
from .names import neutral_name, reason_to_drop

LAYER = "layer"
BLOCK_EPS = "block_norm_eps"
HINTS = (*FIELDS, LAYER, BLOCK_EPS, PREFIX)
# Of the norms before the mixers, in mlx-lm.
MLX_EPS = 1e-5
CONVOLUTION = "conv1d.weight"


def tensors(path: Path) -> Weights:
    """Every tensor of the model."""
    return _contents(path)[0]


def _contents(path: Path) -> tuple[Weights, Mapping[str, Any], dict[str, Any] | None]:
    """The tensors of a directory or file, the notes beside them, and the configuration if any."""
    if not path.is_dir():
        arrays, notes = open_state_dict(path)
        check_mark(NAME, path, notes)
        return arrays, notes, None
    config = needed_config(path)
    return *read_safetensors(path / TENSORS), config


def _is_mlx(array: Array) -> bool:
    """Whether the kernel of a convolution, one for each channel, is (channels, K, 1)."""
    return array.ndim == 3 and array.shape[1] != 1 and array.shape[2] == 1


def _in_torch_order(arrays: Weights, notes: Mapping[str, Any]) -> tuple[Weights, bool]:
    """The tensors with convolutions (channels, 1, K), and whether mlx-lm saved them."""
    swapped = {
        name: array.swapaxes(1, 2)
        for name, array in arrays.items()
        if name.endswith(CONVOLUTION) and _is_mlx(array)
    }
    return {**arrays, **swapped}, bool(swapped) or notes.get("format") == "mlx"


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a stack as a graph, and one layer of it (hint `layer`) or a lone mixer as a mamba2.

    Raises:
        Undetermined: several models in a file, or hints are missing; the sentence names them.
        InputError: a hint that is unknown or contradicts the file.
        WeightError: tensors that are not those of such a model.
        SpecError: an activation other than silu.
    """
    arrays, notes, config = _contents(path)
    arrays, mlx = _in_torch_order(arrays, notes)
    given = parse_hints(NAME, hints, HINTS)
    said, defaults = fields_of(config, path / CONFIG) if config is not None else ({}, {})
    stacked = any(STACK.match(name) for name in arrays)
    net = net_in(path, arrays, STACK if stacked else ROOT, given)
    fields = {name: value for name, value in given.items() if name in FIELDS}
    layers = len(layers_of(net))
    if LAYER in given or not stacked:
        net = one_layer(path, net, given[LAYER]) if LAYER in given else net
        spec, assumed = _mixer(path, net, net.prefix, said, fields)
        converted = assign_mamba(path, net, spec, {**defaults, **assumed})
    else:
        converted = _stack(path, net, said, defaults, (fields, given.get(BLOCK_EPS)))
    if config is not None and stacked:
        check_layers(config, layers, path)
    if mlx:
        _check_whose(path, converted, given)
    elif config is not None:
        _check_version(path, converted, config)
    return converted


def _check_version(path: Path, converted: Converted, config: Mapping[str, Any]) -> None:
    """Ask which norm is meant where the version that saved a model has another than later ones."""
    version = str(config.get("transformers_version", ""))
    if version.startswith("4.") and "grouped_norm" in converted.assumed:
        raise Undetermined(
            f"{str(path)!r} was saved by transformers {version}, which norms all channels at once, "
            "unlike version 5 and mamba_ssm; give what is meant: --set grouped_norm=... (false as "
            "in version 4, true as in version 5)",
            used=converted.used,
        )


def _check_whose(path: Path, converted: Converted, given: Mapping[str, Any]) -> None:
    """Ask for what mlx-lm computes in another way than transformers, in a file of mlx-lm."""
    asked = {}
    if "grouped_norm" in converted.assumed:
        asked["grouped_norm"] = "false as in mlx-lm, true as in transformers"
    eps = _block_eps(converted.spec)
    if BLOCK_EPS not in given and eps not in (None, MLX_EPS):
        asked[BLOCK_EPS] = f"{MLX_EPS:g} as in mlx-lm, {eps:g} as in transformers"
    if asked:
        words = ", ".join(f"--set {name}=... ({values})" for name, values in asked.items())
        raise Undetermined(
            f"{str(path)!r} was saved by mlx-lm, which computes it in another way than "
            f"transformers; give whose numbers are meant: {words}",
            used=converted.used,
        )


def _mixer(
    path: Path,
    net: Net,
    prefix: str,
    said: Mapping[str, Any],
    hints: Mapping[str, Any],
) -> tuple[Mamba2Spec, dict[str, Any]]:
    """The spec of one mixer, and what was assumed for it."""
    shapes = {name: tuple(array.shape) for name, array in net.tensors.items()}
    facts = facts_of(path, shapes, prefix)
    if not facts.rms_norm:
        raise WeightError(f"{str(path)!r} must hold {prefix + 'norm.weight'!r}, but does not")
    check_shapes(said, facts, path, prefix)
    facts = replace(facts, others={"norm_before_gate": False, **said})
    try:
        return mamba_from_facts(path, facts, hints)
    except Undetermined as question:
        question.used = {prefix + name: name for name in net.tensors}
        raise


def _block_eps(spec: Spec) -> float | None:
    """Eps of the norms before the mixers of a stack."""
    first = next(iter(spec.nodes.values())).layer if isinstance(spec, GraphSpec) else None
    return first.eps if isinstance(first, RmsNormSpec) else None


def _stack(
    path: Path,
    net: Net,
    said: Mapping[str, Any],
    defaults: Mapping[str, Any],
    hints: tuple[Mapping[str, Any], Any],
) -> Converted:
    """Read all layers; `hints` are those of the mixers, and the eps of the norms before them."""
    mixers, assumed = [], dict(defaults)
    for number, layer in enumerate(layers_of(net)):
        prefix = f"{net.prefix}layers.{number}.mixer."
        mixer, more = _mixer(path, Net(layer, prefix, {}), prefix, said, hints[0])
        mixers.append(mixer)
        assumed |= more
    if "norm_f.weight" not in net.tensors:
        assumed = {"final_norm": False, **assumed}
    spec = stack_spec(mixers, final_norm="norm_f.weight" in net.tensors, block_eps=hints[1])
    return assign_tensors(path, net, spec, assumed, neutral_name, reason_to_drop, LAYOUT)
