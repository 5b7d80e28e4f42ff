"""The spec of an OpenSeizureDetector file: from its facts, what stands beside them, and hints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.errors import InputError, WeightError
from tcnzoo.formats.report import Undetermined
from tcnzoo.specs import SequentialSpec, Spec
from tcnzoo.zoo.foreign.osd import DENSE_DROPOUT, code_strides

from ..hints import check_hints
from .arguments import arguments_of, deepepi_spec, the_chain
from .facts import DROPOUT_STEP, PLAIN_STEP, DeepEpiFacts
from .names import neutral_names
from .rates import checked_rate, rate_beside


def check_deepepi_hints(path: Path, spec: Spec, hints: Mapping[str, Any]) -> SequentialSpec:
    """The spec of a file of our making, as it is.

    Raises:
        InputError: a hint that contradicts it.
        SpecError: another net.
    """
    chain = the_chain(spec)
    check_hints(path, arguments_of(chain), hints)
    return chain


def deepepi_from_facts(
    path: Path, facts: DeepEpiFacts, beside: Mapping[Any, Any], hints: Mapping[str, Any]
) -> tuple[SequentialSpec, dict[str, Any]]:
    """Join facts of a file, what stands beside its tensors, and hints.

    Returns:
        the spec, and the fields that were assumed.
    Raises:
        Undetermined: there is dropout after the convolutions, and nothing says its rate.
        InputError: a hint that contradicts the file.
        WeightError: a rate that does not go with the places of the convolutions.
    """
    _check_strides(hints, len(facts.filters))
    rate = _conv_dropout(path, facts.step, beside, hints)
    assumed = {"strides": code_strides(len(facts.filters)), "dense_dropout": DENSE_DROPOUT}
    said = {"conv_dropout": 0.5 if rate is None else rate}
    if (dense := rate_beside(path, beside, "dense_dropout")) is not None:
        check_hints(path, {"dense_dropout": dense}, hints)
        said["dense_dropout"] = dense
    spec = deepepi_spec({**facts.sizes(), **assumed, **hints, **said})
    if rate is None:
        raise Undetermined(
            f"{str(path)!r} has dropout after every convolution, but does not determine its rate; "
            "give conv_dropout, as in: --set conv_dropout=0.05",
            facts.sizes(),
            neutral_names(spec),
        )
    known = {*hints, *said}
    return spec, {name: value for name, value in assumed.items() if name not in known}


def _check_strides(hints: Mapping[str, Any], layers: int) -> None:
    """Refuse a hint that is not one stride for each convolution."""
    strides = hints.get("strides", [1] * layers)
    if not isinstance(strides, list | tuple) or len(strides) != layers:
        raise InputError(
            f"the hint strides must be {layers} numbers, one for each convolution, "
            f"but is {strides!r}"
        )


def _conv_dropout(
    path: Path, step: int, beside: Mapping[Any, Any], hints: Mapping[str, Any]
) -> float | None:
    """The rate after the convolutions; None where there is some, but nothing says how much."""
    if step == PLAIN_STEP:
        # Older code takes no notice of the rate in its configuration, so the places decide.
        rate: float | None = checked_rate(path, "conv_dropout", beside.get("conv_dropout")) or 0.0
    else:
        rate = rate_beside(path, beside, "conv_dropout")
    if rate is not None and (step == DROPOUT_STEP) != (rate > 0):
        raise WeightError(
            f"{str(path)!r} says conv_dropout={rate}, but its convolutions are {step} places "
            f"apart, which is {'with' if step == DROPOUT_STEP else 'without'} dropout between them"
        )
    if rate is not None:
        check_hints(path, {"conv_dropout": rate}, hints)
        return rate
    if (hint := hints.get("conv_dropout")) == 0:
        raise InputError(
            f"the hint conv_dropout={hint} contradicts {str(path)!r}, whose convolutions are "
            f"{step} places apart, which is with dropout between them"
        )
    return hint
