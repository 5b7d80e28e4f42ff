"""Checkpoints of OpenSeizureDetector's DeepEpi net in PyTorch, both ways.

A file holds the net's tensors under `model_state_dict`, beside training state and configuration.
Its shapes say all sizes, and the places in `conv_stack` whether there is dropout after the
convolutions; the strides are those of the origin's code, which its text gives differently. The
net returns logits. It has 14 convolutions there; a file with another number is read and written
just so, but only a net of that number loads it.

Source: OpenSeizureDetector, nnTraining2 (`DeepEpiCnn`, `trainModel_pytorch`): facts only.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.checkpoints.directory import read_config
from tcnzoo.errors import InputError, WeightError
from tcnzoo.files.lazy import Tensors
from tcnzoo.formats.report import Converted, Undetermined
from tcnzoo.specs import SequentialSpec, Spec
from tcnzoo.specs.params import check_weights
from tcnzoo.zoo.foreign.osd import DENSE_DROPOUT, code_strides, deepepi_document
from tcnzoo.zoo.parse import parse_spec

from ..containers.detect import kind_of
from ..containers.own import header
from ..containers.pt import arrays_of, notes_of, pickled_strings, read_pt, state_dict_of, write_pt
from ..hints import parse_hints
from .spec import DROPOUT_STEP, PLAIN_STEP, described, foreign_names, sizes_of, step_of

NAME = "osd-torch"
DESCRIPTION = "OpenSeizureDetector's DeepEpi checkpoint (.pt with model_state_dict)"
SUFFIXES = (".pt", ".pth")
FOREIGN = True
HINTS = ("conv_dropout", "dense_dropout", "strides")

STATE = "model_state_dict"
COUNTER = "num_batches_tracked"
MODEL_CLASS = "user_tools.nnTraining2.deepEpiCnnModel_torch.DeepEpiCnnModelPyTorch"
# What stands beside the tensors and goes into the spec -> its name in a configuration.
_RATES = {"conv_dropout": "convDropout", "dense_dropout": "denseDropout"}
_REASONS = {
    "optimizer_state_dict": "state of the optimiser, which no output depends on",
    "config": "configuration of the training run, of which only the dropouts are the model's",
}


def detect(path: Path) -> bool:
    """Whether the pickle of a .pt file names the net's first and last kernel."""
    if kind_of(path) != "pt":
        return False
    return {"conv_stack.0.weight", "fc_out.weight"} <= pickled_strings(path)


def _contents(path: Path) -> tuple[Any, Mapping[Any, Any]]:
    """The state_dict, and what stands beside it."""
    document = read_pt(path)
    if not isinstance(document, Mapping) or STATE not in document:
        return document, {}
    return document[STATE], {name: document[name] for name in document if name != STATE}


def tensors(path: Path) -> Weights:
    """Every tensor of the state_dict."""
    return arrays_of(path, _contents(path)[0])


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a checkpoint of the origin, or a state_dict alone.

    A file of our own making carries its spec where the origin does not mind.

    Raises:
        Undetermined: there is dropout after the convolutions, and nothing says its rate.
        InputError: a hint that is unknown or contradicts the file.
        WeightError: no tensors of this net.
    """
    given = parse_hints(NAME, hints, HINTS)
    state, beside = _contents(path)
    held = arrays_of(path, state)
    config = notes_of(state).get("config")
    assumed: Mapping[str, Any] = {}
    if isinstance(config, str):
        spec = _written(path, config, given)
    else:
        shapes = {name: array.shape for name, array in held.items()}
        spec, assumed = _inferred(path, shapes, beside, given)
    return _sorted(path, held, beside, spec, assumed)


def _written(path: Path, config: str, given: Mapping[str, Any]) -> SequentialSpec:
    """The spec that a file of our own making carries."""
    spec = read_config(config, f"the configuration in {str(path)!r}")
    said = described(spec)
    for name in given:
        _check_hint(path, name, given, said[name])
    assert isinstance(spec, SequentialSpec)
    return spec


def _inferred(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    beside: Mapping[Any, Any],
    given: Mapping[str, Any],
) -> tuple[SequentialSpec, dict[str, Any]]:
    """The spec that shapes, places and what stands beside them make, and what was assumed."""
    sizes = sizes_of(path, shapes)
    _check_strides(given, len(sizes["filters"]))
    rate = _conv_dropout(path, step_of(path, shapes), beside, given)
    assumed = {"strides": code_strides(len(sizes["filters"])), "dense_dropout": DENSE_DROPOUT}
    said = {"conv_dropout": 0.5 if rate is None else rate}
    if (dense := _said(path, beside, "dense_dropout")) is not None:
        _check_hint(path, "dense_dropout", given, dense)
        said["dense_dropout"] = dense
    fields = {**assumed, **given, **said}
    spec = parse_spec(deepepi_document("torch", **sizes, **fields))
    assert isinstance(spec, SequentialSpec)
    if rate is None:
        raise Undetermined(
            f"{str(path)!r} has dropout after every convolution, but does not determine its rate; "
            "give conv_dropout, as in: --set conv_dropout=0.05",
            sizes,
            _neutral_names(spec),
        )
    return spec, {name: one for name, one in assumed.items() if name not in {*given, *said}}


def _check_strides(given: Mapping[str, Any], layers: int) -> None:
    """Refuse a hint that is not one stride for each convolution."""
    strides = given.get("strides", [1] * layers)
    if not isinstance(strides, list | tuple) or len(strides) != layers:
        raise InputError(
            f"the hint strides must be {layers} numbers, one for each convolution, "
            f"but is {strides!r}"
        )


def _conv_dropout(
    path: Path, step: int, beside: Mapping[Any, Any], given: Mapping[str, Any]
) -> float | None:
    """The rate after the convolutions; None where there is some, but nothing says how much."""
    if step == PLAIN_STEP:
        # Older code takes no notice of the rate in its configuration, so the places decide.
        rate: float | None = _number(path, "conv_dropout", beside.get("conv_dropout")) or 0.0
    else:
        rate = _said(path, beside, "conv_dropout")
    if rate is not None and (step == DROPOUT_STEP) != (rate > 0):
        raise WeightError(
            f"{str(path)!r} says conv_dropout={rate}, but its convolutions are {step} places "
            f"apart, which is {'with' if step == DROPOUT_STEP else 'without'} dropout between them"
        )
    if rate is not None:
        _check_hint(path, "conv_dropout", given, rate)
        return rate
    if (hint := given.get("conv_dropout")) == 0:
        raise InputError(
            f"the hint conv_dropout={hint} contradicts {str(path)!r}, whose convolutions are "
            f"{step} places apart, which is with dropout between them"
        )
    return hint


def _said(path: Path, beside: Mapping[Any, Any], name: str) -> float | None:
    """A rate by its own entry, or by the configuration, whole or its `modelConfig` alone."""
    config = beside.get("config")
    config = config if isinstance(config, Mapping) else {}
    model = config.get("modelConfig")
    model = model if isinstance(model, Mapping) else config
    value = beside.get(name)
    return _number(path, name, model.get(_RATES[name]) if value is None else value)


def _number(path: Path, name: str, value: Any) -> float | None:
    """A rate, checked."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise WeightError(f"{name} in {str(path)!r} must be a rate from 0 to 1, but is {value!r}")
    return float(value)


def _check_hint(path: Path, name: str, given: Mapping[str, Any], said: Any) -> None:
    """Refuse a hint that is not what the file says."""
    if name in given and given[name] != said:
        raise InputError(
            f"the hint {name}={given[name]} contradicts {str(path)!r}, which says {name}={said}"
        )


def _neutral_names(spec: SequentialSpec) -> dict[str, str]:
    """Neutral names by the origin's."""
    return {foreign: name for name, foreign in foreign_names(spec).items()}


def _sorted(
    path: Path,
    held: Weights,
    beside: Mapping[Any, Any],
    spec: SequentialSpec,
    assumed: Mapping[str, Any],
) -> Converted:
    """Sort the tensors and what stands beside them into used and dropped."""
    neutral = _neutral_names(spec)
    used, dropped = {}, {}
    for name in held:
        if name in neutral:
            used[name] = neutral[name]
        elif name.endswith(f".{COUNTER}"):
            dropped[name] = "a counter that no output depends on"
        else:
            raise WeightError(f"tensor {name!r} of {str(path)!r} is no part of the net")
    for entry in beside:
        if entry not in _RATES:
            dropped[str(entry)] = _REASONS.get(entry, "about the training run, not the model")
    weights = {used[name]: held[name] for name in used}
    check_weights(spec.params(), weights)
    return Converted(spec, weights, used, dropped, assumed)


def write(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Write a checkpoint whose `model_state_dict` the origin's net loads strictly.

    Raises:
        SpecError: another net than the origin's, such as one of other strides, another batch-norm
            eps, or with a softmax at the end.
    """
    fields = described(spec)
    assert isinstance(spec, SequentialSpec)
    held: dict[str, Array] = {}
    for name, foreign in foreign_names(spec).items():
        held[foreign] = weights[name]
        if foreign.endswith(".running_var"):
            held[foreign.replace("running_var", COUNTER)] = np.zeros((), np.int64)
    rates = {name: fields[name] for name in _RATES}
    model = {"framework": "pytorch", "modelClass": MODEL_CLASS}
    model |= {_RATES[name]: rate for name, rate in rates.items()}
    state = state_dict_of(held, header(NAME, spec))
    write_pt(path, {STATE: state, **rates, "config": {"modelConfig": model}})
    return {}
