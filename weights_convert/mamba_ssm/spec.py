"""The spec of a Mamba-2 block: from the shapes of its tensors and from the caller's hints."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tcnzoo.errors import InputError, WeightError
from tcnzoo.formats.report import Undetermined
from tcnzoo.specs import Mamba2Spec
from tcnzoo.zoo.parse import parse_spec

Shapes = Mapping[str, tuple[int, ...]]

# Tensors that every such block has.
NEEDED = ("in_proj.weight", "conv1d.weight", "dt_bias", "A_log", "D", "out_proj.weight")
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


def facts_of(path: Path, shapes: Shapes, place: str = "") -> dict[str, Any]:
    """Fields of a mamba2 that its tensors determine.

    Args:
        path: for the sentences of errors.
        shapes: of its tensors, by their names inside the block.
        place: what stands before these names in the file.
    Returns:
        `channels`, `d_conv`, `expand`, `d_ssm`, `head_dim`, `d_per_channel`, `rms_norm`, `bias`,
        `conv_bias`, and `shared`, which is groups * d_state.
    Raises:
        WeightError: no such block.
    """
    missing = [name for name in NEEDED if name not in shapes]
    if missing:
        raise WeightError(f"{str(path)!r} must hold {place + missing[0]!r}, which a Mamba-2 has")
    rows, channels = _shape(path, shapes, place, "in_proj.weight", 2)
    _, inner = _shape(path, shapes, place, "out_proj.weight", 2)
    convolved, each, taps = _shape(path, shapes, place, "conv1d.weight", 3)
    if each != 1:
        order = " (channels last, as mlx-lm saves stacks of layers)" if taps == 1 else ""
        raise WeightError(
            f"{place + 'conv1d.weight'!r} of {str(path)!r} must be (channels, 1, K), but has shape "
            f"{shapes['conv1d.weight']}{order}"
        )
    (heads,) = _shape(path, shapes, place, "A_log", 1)
    (skips,) = _shape(path, shapes, place, "D", 1)
    shared, odd = divmod(rows - 2 * inner - heads, 2)
    width = convolved - 2 * shared
    fits = min(channels, heads, taps, shared, width) > 0 and not (odd or inner % channels)
    if not fits or width > inner or width % heads or skips not in (heads, width):
        sizes = ", ".join(f"{name!r} {shapes[name]}" for name in NEEDED if name != "dt_bias")
        raise WeightError(f"the shapes in {str(path)!r} are not those of one Mamba-2: {sizes}")
    return {
        "channels": channels,
        "d_conv": taps,
        "expand": inner // channels,
        "d_ssm": None if width == inner else width,
        "head_dim": width // heads,
        "d_per_channel": skips != heads,
        "rms_norm": "norm.weight" in shapes,
        "bias": "in_proj.bias" in shapes,
        "conv_bias": "conv1d.bias" in shapes,
        "shared": shared,
    }


def _shape(path: Path, shapes: Shapes, place: str, name: str, rank: int) -> tuple[int, ...]:
    """Shape of a tensor of a known number of axes."""
    if len(shapes[name]) != rank:
        raise WeightError(
            f"{place + name!r} of {str(path)!r} must have {rank} axes, as in a Mamba-2, "
            f"but has shape {shapes[name]}"
        )
    return shapes[name]


def completed(
    path: Path, facts: Mapping[str, Any], hints: Mapping[str, Any]
) -> tuple[Mamba2Spec, dict[str, Any]]:
    """Join facts of a file and hints.

    Args:
        path: of the file.
        facts: as `facts_of` gives them, and what else the file says.
        hints: checked values of fields.
    Returns:
        the spec, and the fields that were assumed, with mamba_ssm's defaults.
    Raises:
        Undetermined: the tensors leave open into how many groups B and C are divided.
        InputError: a hint that contradicts the file.
        SpecError: a value that a mamba2 cannot have.
    """
    fields = dict(facts)
    shared, heads = fields.pop("shared"), _heads(facts)
    groups = fields.get("groups") or _groups(path, shared, heads, fields, hints)
    if groups < 1 or shared % groups or heads % groups:
        raise InputError(
            f"groups must divide the {heads} heads and the {shared} rows of B in {str(path)!r}, "
            f"but is {groups}"
        )
    fields |= {"groups": groups, "d_state": shared // groups}
    defaults = {
        **DEFAULTS,
        **(DEFAULTS_OF_NORM if fields["rms_norm"] else {}),
        **(DEFAULTS_OF_GROUPS if fields["rms_norm"] and groups > 1 else {}),
    }
    assumed = {name: value for name, value in defaults.items() if name not in {**fields, **hints}}
    return agreeing(path, fields, {**assumed, **hints}), assumed


def _heads(facts: Mapping[str, Any]) -> int:
    """Number of heads."""
    width: int = facts["d_ssm"] or facts["expand"] * facts["channels"]
    return int(width // facts["head_dim"])


def _groups(
    path: Path, shared: int, heads: int, known: Mapping[str, Any], hints: Mapping[str, Any]
) -> int:
    """How many groups share B and C: from a hint, or one where nothing else is possible."""
    if isinstance(hints.get("groups"), int):
        return int(hints["groups"])
    size = hints.get("d_state")
    if isinstance(size, int) and size > 0 and shared % size == 0:
        return shared // size
    if math.gcd(shared, heads) == 1:
        return 1
    raise Undetermined(
        f"{str(path)!r} does not determine groups; give the values of the net, as in: "
        "--set groups=1",
        known,
    )


def agreeing(path: Path, fields: Mapping[str, Any], hints: Mapping[str, Any]) -> Mamba2Spec:
    """The spec of a file's fields and hints together, if no hint contradicts a field."""
    plain = parse_spec({"kind": "mamba2", **fields})
    given = {name: limits(value) if name == "dt_limit" else value for name, value in hints.items()}
    for name in fields.keys() & given.keys():
        known = getattr(plain, _COMPARED.get(name, name))
        if given[name] != known:
            raise InputError(
                f"the hint {name}={hints[name]} contradicts {str(path)!r}, which says {name}="
                f"{known}"
            )
    spec = parse_spec({"kind": "mamba2", **fields, **given})
    assert isinstance(spec, Mamba2Spec)
    return spec


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
