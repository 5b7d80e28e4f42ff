"""The spec of a Mamba-2 block: from the facts of a file and from the caller's hints."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tcnzoo.errors import InputError, SpecError
from tcnzoo.formats.report import Undetermined
from tcnzoo.specs import Mamba2Spec, Spec
from tcnzoo.zoo.parse import parse_spec

from ..hints import contradiction, spec_from_facts
from .facts import MambaFacts

FIELDS = (
    "channels", "d_state", "d_conv", "expand", "d_ssm", "head_dim", "groups", "d_per_channel",
    "rms_norm", "norm_before_gate", "grouped_norm", "norm_eps", "dt_limit", "bias", "conv_bias",
    "chunk_size",
)  # fmt: skip
# What mamba_ssm has unless it is told otherwise, and no tensor says.
DEFAULTS: Mapping[str, Any] = {"dt_limit": (0.0, None)}
DEFAULTS_OF_NORM: Mapping[str, Any] = {"norm_before_gate": False, "norm_eps": 1e-5}
DEFAULTS_OF_GROUPS: Mapping[str, Any] = {"grouped_norm": True}

# A field that says nothing where it is left out -> the property to compare.
_COMPARED = {"d_ssm": "width"}


def mamba_from_facts(
    path: Path, facts: MambaFacts, hints: Mapping[str, Any]
) -> tuple[Mamba2Spec, dict[str, Any]]:
    """Join facts of a file and hints.

    Args:
        path: of the file.
        facts: what the file says.
        hints: checked values of fields.
    Returns:
        the spec, and the fields that were assumed, with mamba_ssm's defaults.
    Raises:
        Undetermined: the tensors leave open into how many groups B and C are divided.
        InputError: a hint that contradicts the file.
        SpecError: a value that a mamba2 cannot have.
    """
    fields = facts.fields()
    groups = fields.get("groups") or _groups(path, facts, hints)
    if groups < 1 or facts.shared % groups or facts.heads % groups:
        raise InputError(
            f"groups must divide the {facts.heads} heads and the {facts.shared} rows of B in "
            f"{str(path)!r}, but is {groups}"
        )
    fields |= {"groups": groups, "d_state": facts.shared // groups}
    defaults = {
        **DEFAULTS,
        **(DEFAULTS_OF_NORM if facts.rms_norm else {}),
        **(DEFAULTS_OF_GROUPS if facts.rms_norm and groups > 1 else {}),
    }
    return _with_hints(path, fields, hints, defaults)


def _groups(path: Path, facts: MambaFacts, hints: Mapping[str, Any]) -> int:
    """How many groups share B and C: from a hint, or one where nothing else is possible."""
    if isinstance(hints.get("groups"), int):
        return int(hints["groups"])
    size = hints.get("d_state")
    if isinstance(size, int) and size > 0 and facts.shared % size == 0:
        return facts.shared // size
    if math.gcd(facts.shared, facts.heads) == 1:
        return 1
    raise Undetermined(
        f"{str(path)!r} does not determine groups; give the values of the net, as in: "
        "--set groups=1",
        facts.fields(),
    )


def check_mamba_hints(path: Path, spec: Mamba2Spec, hints: Mapping[str, Any]) -> Mamba2Spec:
    """The spec that a file of our making carries, with what hints say in another way.

    Raises:
        InputError: a hint that contradicts it.
    """
    return _with_hints(path, spec.model_dump(mode="json"), hints, {})[0]


def _with_hints(
    path: Path, fields: Mapping[str, Any], hints: Mapping[str, Any], defaults: Mapping[str, Any]
) -> tuple[Mamba2Spec, dict[str, Any]]:
    """The spec of fields, hints and defaults, if no hint contradicts a field."""
    plain = parse_spec({"kind": "mamba2", **fields})
    given = {name: limits(value) if name == "dt_limit" else value for name, value in hints.items()}
    for name in fields.keys() & given.keys():
        said = getattr(plain, _COMPARED.get(name, name))
        if given[name] != said:
            raise contradiction(path, f"{name}={hints[name]}", f"says {name}={said}")
    spec, assumed = spec_from_facts({"kind": "mamba2", **fields}, given, defaults)
    return the_mamba("this format", spec), assumed


def the_mamba(project: str, spec: Spec) -> Mamba2Spec:
    """The spec as a single mamba2.

    Raises:
        SpecError: another model.
    """
    if isinstance(spec, Mamba2Spec):
        return spec
    raise SpecError(f"{project} holds a single model of kind 'mamba2', but this is a {spec.kind}")


def limits(value: Any) -> Any:
    """Bounds of dt as a spec has them: None for an upper one that is infinite."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return value
    low, high = value
    return low, None if high in (None, math.inf, "inf", "none") else high


def obstacles(spec: Mamba2Spec) -> Iterator[str]:
    """Say which fields neither mamba_ssm nor transformers has."""
    if spec.channels is None:
        yield "channels must be known"
    if spec.rms_norm and spec.groups > 1 and not spec.grouped_norm:
        yield "grouped_norm must be true"
