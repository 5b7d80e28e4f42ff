"""The spec of an mlx-tcn net, from its file and the caller's hints.

Source: arguments of mlx-tcn's `TCN`, https://github.com/WeLiteAuto/mlx-tcn.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tcnzoo.specs import SqueezeExcitationSpec, TcnSpec

from ..containers.state_dicts import PREFIX
from ..hints import contradiction
from ..pytorch_tcn.facts import Shapes
from ..pytorch_tcn.spec import FIELDS, check_tcn_hints, tcn_from_facts
from .arguments import SQUEEZE
from .facts import facts_in, reduction_in

HINTS = (*FIELDS, *SQUEEZE, PREFIX)


def spec_from_shapes(
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
    facts, asked = facts_in(shapes), list[str]()
    guess = hints.get("se_reduction")
    if not isinstance(guess, int) or guess < 0:
        guess = SqueezeExcitationSpec.model_fields["reduction"].default
    reduction = reduction_in(shapes, facts.channels, guess)
    if reduction is not None:
        squeeze: dict[str, Any] = {"pool": "global", "reduction": reduction}
        if "se_residual" in hints:
            squeeze["residual"] = hints["se_residual"]
        else:
            asked.append("se_residual")
        facts = replace(facts, others={"squeeze_excitation": squeeze})
    plain = {name: value for name, value in hints.items() if name in FIELDS}
    spec, assumed = tcn_from_facts(path, facts, plain, asked=asked)
    _check_squeeze(path, spec, hints)
    return spec, assumed


def check_mlx_hints(path: Path, embedded: TcnSpec, hints: Mapping[str, Any]) -> TcnSpec:
    """The spec that a file of our making carries, as `check_tcn_hints`."""
    plain = {name: value for name, value in hints.items() if name in FIELDS}
    spec = check_tcn_hints(path, embedded, plain)
    _check_squeeze(path, spec, hints)
    return spec


def _check_squeeze(path: Path, spec: TcnSpec, hints: Mapping[str, Any]) -> None:
    """Raise InputError if a hint on squeeze-and-excitation contradicts the file."""
    for name, field in SQUEEZE.items():
        said = getattr(spec.squeeze_excitation, field, None)
        if name in hints and hints[name] != said:
            says = "has no squeeze-and-excitation" if said is None else f"says {name}={said}"
            raise contradiction(path, f"{name}={hints[name]}", says)
