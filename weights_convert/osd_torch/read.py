"""How a checkpoint of OpenSeizureDetector is read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.arrays import Weights
from tcnzoo.checkpoints.directory import read_config
from tcnzoo.errors import WeightError
from tcnzoo.formats.report import Converted
from tcnzoo.specs import SequentialSpec
from tcnzoo.specs.params import check_weights

from ..containers.pt import arrays_of, notes_of, read_pt
from ..hints import parse_hints
from .detect import NAME
from .facts import facts_of
from .names import COUNTER, RATES, STATE, neutral_names
from .spec import check_deepepi_hints, deepepi_from_facts

HINTS = ("conv_dropout", "dense_dropout", "strides")
_REASONS = {
    "optimizer_state_dict": "state of the optimiser, which no output depends on",
    "config": "configuration of the training run, of which only the dropouts are the model's",
}


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
    arrays = arrays_of(path, state)
    config = notes_of(state).get("config")
    assumed: Mapping[str, Any] = {}
    if isinstance(config, str):
        embedded = read_config(config, f"the configuration in {str(path)!r}")
        spec = check_deepepi_hints(path, embedded, given)
    else:
        facts = facts_of(path, {name: array.shape for name, array in arrays.items()})
        spec, assumed = deepepi_from_facts(path, facts, beside, given)
    return _assign(path, arrays, beside, spec, assumed)


def _assign(
    path: Path,
    tensors: Weights,
    beside: Mapping[Any, Any],
    spec: SequentialSpec,
    assumed: Mapping[str, Any],
) -> Converted:
    """Divide the tensors and what stands beside them into used and dropped."""
    neutral = neutral_names(spec)
    used, dropped = {}, {}
    for name in tensors:
        if name in neutral:
            used[name] = neutral[name]
        elif name.endswith(f".{COUNTER}"):
            dropped[name] = "a counter that no output depends on"
        else:
            raise WeightError(f"tensor {name!r} of {str(path)!r} is no part of the net")
    for entry in beside:
        if entry not in RATES:
            dropped[str(entry)] = _REASONS.get(entry, "about the training run, not the model")
    weights = {used[name]: tensors[name] for name in used}
    check_weights(spec.params(), weights)
    return Converted(spec, weights, used, dropped, assumed)
