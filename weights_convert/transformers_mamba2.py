"""Mamba-2 models of transformers, both ways: a whole stack, or a single mixer.

A directory has config.json and model.safetensors; a .pt or .safetensors file of tensors alone says
less, and what it leaves open are hints. The tensors of a mixer have their neutral names.

Since version 5 transformers norms each group of a mixer by itself, as mamba_ssm does; version 4 and
mlx-lm norm all channels at once, which matters with more than one group: `grouped_norm` is a hint.
In a stream transformers 5.23 leaves out `time_step_limit`, which holds here always.

Source: names of transformers 5.23 (Apache-2.0), `Mamba2Model`, `Mamba2Mixer`.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.checkpoint import TENSORS, read_safetensors
from tcnzoo.converted import Converted, Undetermined
from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.files import replacing_directory
from tcnzoo.params import Weights
from tcnzoo.safetensors_files import put_safetensors
from tcnzoo.specs import Mamba2Spec, Spec

from .hints import check_hints
from .mamba_ssm import ROOT, holds_mamba, names_in, sort_mamba
from .mamba_ssm_spec import FIELDS, completed, facts_of
from .own import check_mark, to_stored
from .state_dicts import PREFIX, Net, net_in, open_state_dict, sorted_out
from .torch import LAYOUT
from .transformers_mamba2_config import (
    CONFIG,
    check_shapes,
    config_document,
    config_of,
    fields_of,
    needed_config,
    refused,
)
from .transformers_mamba2_stack import (
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
HINTS = (*FIELDS, LAYER, PREFIX)

_STACK = re.compile(r"(.*\.|)layers\.0\.mixer\.A_log$")
_MIXER = re.compile(r"layers\.([0-9]{1,9})\.mixer\.(.+)")
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


def _contents(path: Path) -> tuple[Weights, dict[str, Any] | None]:
    """The tensors of a directory or file, and the configuration of a directory."""
    if not path.is_dir():
        held, notes = open_state_dict(path)
        check_mark(NAME, path, notes)
        return held, None
    config = needed_config(path)
    return read_safetensors(path / TENSORS)[0], config


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a stack as a graph, and one layer of it (hint `layer`) or a lone mixer as a mamba2.

    Raises:
        Undetermined: several models in a file, or hints are missing; the sentence names them.
        InputError: a hint that is unknown or contradicts the file.
        WeightError: tensors that are not those of such a model.
        SpecError: an activation other than silu.
    """
    held, config = _contents(path)
    given = check_hints(NAME, hints, HINTS)
    said, defaults = fields_of(config, path / CONFIG) if config is not None else ({}, {})
    stacked = any(_STACK.match(name) for name in held)
    net = net_in(path, held, _STACK if stacked else ROOT, given)
    fields = {name: value for name, value in given.items() if name not in (LAYER, PREFIX)}
    if LAYER in given or not stacked:
        net = _one_layer(path, net, given[LAYER]) if LAYER in given else net
        spec, assumed = _mixer(path, net, net.prefix, said, fields)
        return sort_mamba(path, net, spec, {**defaults, **assumed})
    return _stack(path, net, said, defaults, fields)


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


def _stack(
    path: Path,
    net: Net,
    said: Mapping[str, Any],
    defaults: Mapping[str, Any],
    hints: Mapping[str, Any],
) -> Converted:
    """Read all layers."""
    mixers, assumed = [], dict(defaults)
    for place, layer in enumerate(_layers(net)):
        where = f"{net.prefix}layers.{place}.mixer."
        mixer, more = _mixer(path, Net(layer, where, {}), where, said, hints)
        mixers.append(mixer)
        assumed |= more
    spec = stack_spec(mixers, final_norm="norm_f.weight" in net.tensors)
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
