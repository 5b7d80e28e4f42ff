"""Mamba-2 models of transformers, both ways: a whole stack, or a single mixer.

A directory has config.json and model.safetensors; a .pt or .safetensors file of tensors alone says
less, and what it leaves open are hints. The tensors of a mixer have their neutral names.

Since version 5 transformers norms each group of a mixer by itself, as mamba_ssm does; version 4 and
mlx-lm norm all channels at once, which matters with more than one group: `grouped_norm` is a hint.
In a stream transformers 5.23 leaves out `time_step_limit`, which holds here always.

A model that mlx-lm saved has the convolutions as (channels, K, 1). mlx-lm also takes eps 1e-5 in
the norms before the mixers, whatever the configuration says: where that or the groups make a
difference, the file is asked whose numbers are meant.

Source: names of transformers 5.23 (Apache-2.0), `Mamba2Model`, `Mamba2Mixer`; mlx-lm 0.32.2 (MIT),
`mlx_lm.models.mamba2`.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.checkpoints.directory import TENSORS, read_safetensors
from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.files.atomic import replacing_directory
from tcnzoo.files.safetensors import put_safetensors
from tcnzoo.formats.report import Converted, Undetermined
from tcnzoo.specs import GraphSpec, Mamba2Spec, RmsNormSpec, Spec

from ..containers.own import check_mark, to_stored
from ..containers.state_dicts import PREFIX, Net, net_in, open_state_dict, sorted_out
from ..hints import check_hints
from ..mamba_ssm import ROOT, holds_mamba, names_in, sort_mamba
from ..mamba_ssm.spec import FIELDS, completed, facts_of
from ..torch import LAYOUT
from .config import (
    CONFIG,
    check_layers,
    check_shapes,
    config_document,
    config_of,
    fields_of,
    needed_config,
    refused,
)
from .stack import (
    BACKBONE,
    EMBEDDINGS,
    foreign_name,
    mixers_of,
    neutral_name,
    reason_to_drop,
    stack_spec,
)

NAME = "transformers-mamba2"
DESCRIPTION = "Mamba-2 model or mixer of transformers: directory with config.json, or state_dict"
SUFFIXES: tuple[str, ...] = ()
FOREIGN = True
LAYER = "layer"
BLOCK_EPS = "block_norm_eps"
HINTS = (*FIELDS, LAYER, BLOCK_EPS, PREFIX)
# Of the norms before the mixers, in mlx-lm.
MLX_EPS = 1e-5

_STACK = re.compile(r"(.*\.|)layers\.0\.mixer\.A_log$")
_MIXER = re.compile(r"layers\.([0-9]{1,9})\.mixer\.(.+)")
CONVOLUTION = "conv1d.weight"
_EMBEDDING = re.compile(r"(?:^|\.)embedding\.weight$")  # mamba_ssm's name


def detect(path: Path) -> bool:
    """Whether it is a directory with such a configuration, or a file with the names of a stack."""
    if path.is_dir():
        return config_of(path) is not None
    said, names = names_in(path)
    stack = any(_STACK.match(name) for name in names) and holds_mamba(names)
    return stack and not said.startswith("tcnzoo") and not any(map(_EMBEDDING.search, names))


def tensors(path: Path) -> Weights:
    """Every tensor of the model."""
    return _contents(path)[0]


def _contents(path: Path) -> tuple[Weights, Mapping[str, Any], dict[str, Any] | None]:
    """The tensors of a directory or file, the notes beside them, and the configuration if any."""
    if not path.is_dir():
        held, notes = open_state_dict(path)
        check_mark(NAME, path, notes)
        return held, notes, None
    config = needed_config(path)
    return *read_safetensors(path / TENSORS), config


def _is_mlx(array: Array) -> bool:
    """Whether the kernel of a convolution, one for each channel, is (channels, K, 1)."""
    return array.ndim == 3 and array.shape[1] != 1 and array.shape[2] == 1


def _in_torch_order(held: Weights, notes: Mapping[str, Any]) -> tuple[Weights, bool]:
    """The tensors with convolutions (channels, 1, K), and whether mlx-lm saved them."""
    kernels = [name for name, one in held.items() if name.endswith(CONVOLUTION) and _is_mlx(one)]
    swapped = {name: held[name].swapaxes(1, 2) for name in kernels}
    return {**held, **swapped}, bool(kernels) or notes.get("format") == "mlx"


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a stack as a graph, and one layer of it (hint `layer`) or a lone mixer as a mamba2.

    Raises:
        Undetermined: several models in a file, or hints are missing; the sentence names them.
        InputError: a hint that is unknown or contradicts the file.
        WeightError: tensors that are not those of such a model.
        SpecError: an activation other than silu.
    """
    held, notes, config = _contents(path)
    held, mlx = _in_torch_order(held, notes)
    given = check_hints(NAME, hints, HINTS)
    said, defaults = fields_of(config, path / CONFIG) if config is not None else ({}, {})
    stacked = any(_STACK.match(name) for name in held)
    net = net_in(path, held, _STACK if stacked else ROOT, given)
    fields = {name: value for name, value in given.items() if name in FIELDS}
    layers = len(_layers(net))
    if LAYER in given or not stacked:
        net = _one_layer(path, net, given[LAYER]) if LAYER in given else net
        spec, assumed = _mixer(path, net, net.prefix, said, fields)
        found = sort_mamba(path, net, spec, {**defaults, **assumed})
    else:
        found = _stack(path, net, said, defaults, (fields, given.get(BLOCK_EPS)))
    if config is not None and stacked:
        check_layers(config, layers, path)
    if mlx:
        _check_whose(path, found, given)
    elif config is not None:
        _check_version(path, found, config)
    return found


def _check_version(path: Path, found: Converted, config: Mapping[str, Any]) -> None:
    """Ask which norm is meant where the version that saved a model has another than later ones."""
    version = str(config.get("transformers_version", ""))
    if version.startswith("4.") and "grouped_norm" in found.assumed:
        raise Undetermined(
            f"{str(path)!r} was saved by transformers {version}, which norms all channels at once, "
            "unlike version 5 and mamba_ssm; give what is meant: --set grouped_norm=... (false as "
            "in version 4, true as in version 5)",
            used=found.used,
        )


def _check_whose(path: Path, found: Converted, given: Mapping[str, Any]) -> None:
    """Ask for what mlx-lm computes in another way than transformers, in a file of mlx-lm."""
    asked = {}
    if "grouped_norm" in found.assumed:
        asked["grouped_norm"] = "false as in mlx-lm, true as in transformers"
    eps = _block_eps(found.spec)
    if BLOCK_EPS not in given and eps not in (None, MLX_EPS):
        asked[BLOCK_EPS] = f"{MLX_EPS:g} as in mlx-lm, {eps:g} as in transformers"
    if asked:
        words = ", ".join(f"--set {name}=... ({values})" for name, values in asked.items())
        raise Undetermined(
            f"{str(path)!r} was saved by mlx-lm, which computes it in another way than "
            f"transformers; give whose numbers are meant: {words}",
            used=found.used,
        )


def _one_layer(path: Path, net: Net, wanted: Any) -> Net:
    """The mixer of one layer; all else stands beside it."""
    layers = _layers(net)
    if not isinstance(wanted, int) or isinstance(wanted, bool) or not 0 <= wanted < len(layers):
        raise InputError(
            f"layer must be one of 0 to {len(layers) - 1} in {str(path)!r}, but is {wanted!r}"
        )
    before = f"layers.{wanted}.mixer."
    reason = f"outside of layer {wanted}, which alone is converted"
    beside = {net.prefix + name: reason for name in net.tensors if not name.startswith(before)}
    return Net(layers[wanted], net.prefix + before, {**net.beside, **beside})


def _layers(net: Net) -> list[Weights]:
    """The tensors of each mixer of a stack; empty for a lone mixer.

    Raises:
        WeightError: a layer is not there.
    """
    layers: dict[int, Weights] = {}
    for name, array in net.tensors.items():
        match = _MIXER.fullmatch(name)
        if match:
            layers.setdefault(int(match[1]), {})[match[2]] = array
    if sorted(layers) != list(range(len(layers))):
        raise WeightError(
            f"the layers of a stack are numbered from 0, but these are {_few(layers)}"
        )
    return [layers[place] for place in range(len(layers))]


def _few(layers: Iterable[int]) -> str:
    """The first of some numbers, for a sentence."""
    first = sorted(layers)
    return ", ".join(map(str, first[:5])) + (", ..." if len(first) > 5 else "")


def _mixer(
    path: Path,
    net: Net,
    place: str,
    said: Mapping[str, Any],
    hints: Mapping[str, Any],
) -> tuple[Mamba2Spec, dict[str, Any]]:
    """The spec of one mixer, and what was assumed for it."""
    shapes = {name: tuple(array.shape) for name, array in net.tensors.items()}
    facts = facts_of(path, shapes, place)
    if not facts["rms_norm"]:
        raise WeightError(f"{str(path)!r} must hold {place + 'norm.weight'!r}, but does not")
    check_shapes(said, facts, path, place)
    try:
        return completed(path, {**facts, "norm_before_gate": False, **said}, hints)
    except Undetermined as question:
        question.used = {place + name: name for name in net.tensors}
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
    for place, layer in enumerate(_layers(net)):
        where = f"{net.prefix}layers.{place}.mixer."
        mixer, more = _mixer(path, Net(layer, where, {}), where, said, hints[0])
        mixers.append(mixer)
        assumed |= more
    if "norm_f.weight" not in net.tensors:
        assumed = {"final_norm": False, **assumed}
    spec = stack_spec(mixers, final_norm="norm_f.weight" in net.tensors, block_eps=hints[1])
    return sorted_out(path, net, spec, assumed, neutral_name, reason_to_drop, LAYOUT)


def write(path: Path, spec: Spec, weights: Weights) -> Mapping[str, str]:
    """Write config.json and model.safetensors, both or neither.

    A stack becomes what `Mamba2Model.from_pretrained` and mlx-lm load, with the embedding of one
    token, zero, because these cannot be without; give the signal as `inputs_embeds`. A mamba2
    becomes the state_dict of a `Mamba2Mixer(Mamba2Config(**config), 0)`.

    Raises:
        SpecError: a model that transformers has not.
    """
    single = isinstance(spec, Mamba2Spec)
    mixers = [spec] if isinstance(spec, Mamba2Spec) else mixers_of(spec)
    against = list(refused(mixers[0]))
    if against:
        raise SpecError(f"{NAME} cannot hold this model: {'; '.join(against)}")
    stored = to_stored(spec.params(), weights, LAYOUT)
    named: dict[str, Array] = {
        name if single else foreign_name(name): array for name, array in stored.items()
    }
    if not single:
        first = named[f"{BACKBONE}layers.0.norm.weight"]
        named[BACKBONE + EMBEDDINGS] = np.zeros((1, *first.shape), first.dtype)
    text = json.dumps(config_document(mixers[0], len(mixers)), indent=2) + "\n"
    with replacing_directory(path) as files:
        put_safetensors(files / TENSORS, named, {"format": "pt"})
        (files / CONFIG).write_text(text, encoding="utf-8")
    return {}
