"""The spec of an mlx-tcn net: from its file and the caller's hints, and back to arguments.

Source: arguments of mlx-tcn's `TCN`, https://github.com/WeLiteAuto/mlx-tcn.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tcnzoo.errors import InputError
from tcnzoo.specs import SqueezeExcitationSpec, TcnSpec

from ..containers.state_dicts import PREFIX
from ..pytorch_tcn.arguments import ACTIVATIONS, SOFTMAXES, shared_arguments, shared_obstacles
from ..pytorch_tcn.facts import Shapes
from ..pytorch_tcn.spec import FIELDS, agreeing, completed
from .facts import facts_in, reduction_in

# mlx-tcn's argument, which is the hint -> the field of squeeze_excitation.
SQUEEZE = {"se_reduction": "reduction", "se_residual": "residual"}
HINTS = (*FIELDS, *SQUEEZE, PREFIX)

# Its own default is refused for some activations; what it draws is replaced by what is loaded.
INITIALIZER = {"kernel_initilaizer": "xavier_uniform"}


def inferred(
    path: Path, shapes: Shapes, hints: Mapping[str, Any]
) -> tuple[TcnSpec, dict[str, Any]]:
    """The spec of a file.

    Args:
        path: of the file.
        shapes: of its tensors, as they are there.
        hints: checked values.
    Returns:
        the spec, and the fields that were assumed.
    Raises:
        Undetermined: fields are left open.
        InputError: a hint that contradicts the file.
        WeightError: no file of this net.
        SpecError: a value that a tcn cannot have.
    """
    facts, asked = facts_in(shapes), []
    guess = hints.get("se_reduction")
    if not isinstance(guess, int) or guess < 0:
        guess = SqueezeExcitationSpec.model_fields["reduction"].default
    reduction = reduction_in(shapes, facts["channels"], guess)
    if reduction is not None:
        squeeze = {"pool": "global", "reduction": reduction}
        if "se_residual" in hints:
            squeeze["residual"] = hints["se_residual"]
        else:
            asked.append("se_residual")
        facts["squeeze_excitation"] = squeeze
    plain = {name: value for name, value in hints.items() if name in FIELDS}
    spec, assumed = completed(path, facts, plain, asked=asked)
    _check_squeeze(path, spec, hints)
    return spec, assumed


def confirmed(path: Path, written: TcnSpec, hints: Mapping[str, Any]) -> TcnSpec:
    """The spec that a file of ours carries, if no hint contradicts it."""
    plain = {name: value for name, value in hints.items() if name in FIELDS}
    spec = agreeing(path, written.model_dump(mode="json"), plain)
    _check_squeeze(path, spec, hints)
    return spec


def _check_squeeze(path: Path, spec: TcnSpec, hints: Mapping[str, Any]) -> None:
    """Raise InputError if a hint on squeeze-and-excitation contradicts the file."""
    for name, field in SQUEEZE.items():
        found = getattr(spec.squeeze_excitation, field, None)
        if name in hints and hints[name] != found:
            says = "has no squeeze-and-excitation" if found is None else f"says {name}={found}"
            raise InputError(
                f"the hint {name}={hints[name]} contradicts {str(path)!r}, which {says}"
            )


def arguments_of(spec: TcnSpec) -> dict[str, Any]:
    """Arguments of `mlx_tcn.TCN` that make the net of a spec."""
    arguments = {"num_inputs": spec.in_channels, "kernel_sizes": list(spec.kernel_sizes)}
    arguments |= {**shared_arguments(spec), **INITIALIZER}
    if spec.squeeze_excitation is not None:
        fields = SQUEEZE.items()
        arguments |= {name: getattr(spec.squeeze_excitation, field) for name, field in fields}
    return arguments | {"use_se": spec.squeeze_excitation is not None}


def obstacles(spec: TcnSpec) -> Iterator[str]:
    """Say which fields mlx-tcn has no argument for."""
    if spec.squeeze_excitation is not None and spec.squeeze_excitation.pool != "global":
        yield (f"squeeze_excitation.pool must be 'global', but is {spec.squeeze_excitation.pool!r}")
    yield from shared_obstacles(spec, (*ACTIVATIONS, *SOFTMAXES))
