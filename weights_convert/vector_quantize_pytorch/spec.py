"""The spec of a vector-quantize-pytorch codebook, from its tensors and from hints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.checkpoints.directory import read_config
from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.formats.report import Undetermined
from tcnzoo.specs import ResidualVqSpec, Spec, VectorQuantizerSpec
from tcnzoo.zoo.parse import parse_spec

# What the file does not say, as the library has it by default.
DEFAULTS = {
    "gradient": "rotation",
    "update": "ema",
    "decay": 0.8,
    "eps": 1e-5,
    "commitment": 1.0,
    "dead_code_threshold": 0.0,
}
# Options that change outputs, leave no tensor, and have no counterpart here beyond the default.
ONLY: Mapping[str, Any] = {"heads": 1, "vq_bridge": False}
# The same for levels: a user's own list called `layers` has the names of a ResidualVQ, too.
ONLY_OF_LEVELS: Mapping[str, Any] = {"kind": "residual_vq", "beam_size": 1, "diveq": False}
# Iterations of k-means at the first step, where the file says that it is still to run.
KMEANS = 10
FIELDS = (*ONLY_OF_LEVELS, *ONLY, *DEFAULTS, "kmeans_iterations", "cosine", "shared")
# Codes are of length 1 to so much; 16-bit types round them.
ONE_LENGTH = 1e-5
_ROUNDED = 1e-2

# What every codebook holds; its flag `initted` may be missing and then says that it is set.
_TENSORS = ("embed", "embed_avg", "cluster_size")

Codebooks = Mapping[int | None, Mapping[str, Array]]


def lengths_of(codes: Array) -> Array:
    """Length of each code."""
    found: Array = np.linalg.norm(codes.astype(np.float64), axis=-1)
    return found


def length_errors(codes: Array) -> float:
    """Largest distance of a code's length from 1."""
    return float(np.abs(lengths_of(codes) - 1.0).max())


def spec_of(
    path: Path, codebooks: Codebooks, hints: Mapping[str, Any]
) -> tuple[Spec, dict[str, Any]]:
    """Join what a file says and hints.

    Args:
        path: of the file.
        codebooks: the tensors of each level (None: no levels), by their names in the library.
        hints: checked values of FIELDS.
    Returns:
        the spec, and the fields that were assumed.
    Raises:
        Undetermined: all codes are of length 1, or none is set yet, and no hint says `cosine`.
        InputError: a hint that contradicts the file.
        SpecError: an option that has no counterpart.
        WeightError: tensors that no such codebook has.
    """
    if not codebooks:
        raise WeightError(
            f"{str(path)!r} must hold the tensor '_codebook.embed' of a VectorQuantize or "
            "ResidualVQ, but does not; other quantisers are not read"
        )
    only = ONLY if None in codebooks else {**ONLY_OF_LEVELS, **ONLY}
    _check_only(path, only, hints)
    sizes = {_sizes(path, level, one) for level, one in codebooks.items()}
    if len(sizes) != 1:
        raise WeightError(
            f"{str(path)!r} must hold codebooks of one size, but holds "
            f"{len(sizes)} sizes: {sorted(sizes)}"
        )
    codes, channels = sizes.pop()
    known = {"codes": codes, "channels": channels, "cosine": _cosine(path, codebooks, hints)}
    trained = _defaults(codebooks, channels)
    said = {name: hints[name] for name in (*trained, "kmeans_iterations") if name in hints}
    quantizer = {**trained, **said, **known}
    assumed = {name: one for name, one in {**only, **trained}.items() if name not in hints}
    if None in codebooks:
        if "shared" in hints:
            raise InputError(f"the hint shared is of levels, but {str(path)!r} holds one codebook")
        return parse_spec({"kind": "vector_quantizer", **quantizer}), assumed
    shared = _shared(path, codebooks, hints)
    if shared and "shared" not in hints:
        assumed["shared"] = True
    document = {"kind": "residual_vq", "levels": len(codebooks), "shared": shared}
    return parse_spec({**document, "quantizer": quantizer}), assumed


def _check_only(path: Path, only: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    """Raise unless every hint on an option without a counterpart names its one value."""
    for name in (*ONLY_OF_LEVELS, *ONLY):
        if name not in hints or hints[name] == only.get(name):
            continue
        if name not in only:
            raise InputError(f"the hint {name} is of levels, but {str(path)!r} holds one codebook")
        if name == "kind":
            raise SpecError(
                f"{str(path)!r} is read as the levels of one residual_vq; where the quantisers are "
                "a list of another model, convert one of them, as in: --set prefix=layers.0"
            )
        raise SpecError(
            f"a quantiser with {name}={hints[name]} cannot be converted; only {name}="
            f"{only[name]} has a counterpart"
        )


def _sizes(path: Path, level: int | None, codebook: Mapping[str, Array]) -> tuple[int, int]:
    """(codes, channels) of one codebook, all of whose tensors must agree."""
    place = "_codebook." if level is None else f"layers.{level}._codebook."
    missing = [name for name in _TENSORS if name not in codebook]
    if missing:
        raise WeightError(f"{str(path)!r} must hold {place + missing[0]!r} beside the others")
    shape = codebook["embed"].shape
    if len(shape) != 3 or 0 in shape:
        raise WeightError(
            f"{place + 'embed'!r} of {str(path)!r} must be (1, codes, channels), but has shape "
            f"{shape}"
        )
    if shape[0] != 1:
        raise WeightError(
            f"{str(path)!r} holds {shape[0]} heads with a codebook each; only one can be converted"
        )
    wanted = {"embed_avg": shape, "cluster_size": shape[:2], "initted": ()}
    for name, expected in wanted.items():
        found = codebook[name].shape if name in codebook else expected
        if found != expected:
            raise WeightError(
                f"{place + name!r} of {str(path)!r} must have shape {expected}, but has {found}"
            )
    return shape[1], shape[2]


def _cosine(path: Path, codebooks: Codebooks, hints: Mapping[str, Any]) -> bool:
    """Whether codes are compared by their angle: said, or ruled out by the codes' lengths.

    With use_cosine_sim the library keeps codes at length 1, but a code that no value falls on for
    some hundred steps shrinks to 0. So they rule it out only if one is longer, or none is of 1.
    """
    lengths = np.concatenate([lengths_of(one["embed"]).ravel() for one in codebooks.values()])
    short = int((lengths < 1.0 - _ROUNDED).sum())
    ruled_out = lengths.max() > 1.0 + _ROUNDED or lengths.max() < 1.0 - _ROUNDED
    if ruled_out and _initialised(codebooks):
        if hints.get("cosine") is True:
            raise InputError(
                f"the hint cosine=true contradicts {str(path)!r}, whose codes are not of length 1"
            )
        return False
    if "cosine" not in hints:
        raise Undetermined(
            f"the codes in {str(path)!r} do not determine cosine; give the value of "
            "use_cosine_sim, as in: --set cosine=true"
        )
    if hints["cosine"] and short and _initialised(codebooks):
        raise SpecError(
            f"{short} of the {lengths.size} codes in {str(path)!r} are shorter than 1, as the "
            "library leaves codes that it no longer uses; with cosine=true these have no "
            "counterpart: replace them (threshold_ema_dead_code) and save the model again"
        )
    return bool(hints["cosine"])


def _initialised(codebooks: Codebooks) -> bool:
    """Whether no codebook waits for k-means."""
    return all(bool(one.get("initted", True)) for one in codebooks.values())


def _defaults(codebooks: Codebooks, channels: int) -> dict[str, Any]:
    """What the library takes where nothing is said."""
    waiting = not _initialised(codebooks)
    gradient = {} if channels > 1 else {"gradient": "straight_through"}
    return {**DEFAULTS, **gradient, **({"kmeans_iterations": KMEANS} if waiting else {})}


def _shared(path: Path, codebooks: Codebooks, hints: Mapping[str, Any]) -> bool:
    """Whether all levels share a codebook: they then hold the same bits."""
    if sorted(codebooks, key=lambda level: level or 0) != list(range(len(codebooks))):
        raise WeightError(
            f"{str(path)!r} must hold the levels layers.0 to layers.{len(codebooks) - 1}"
        )
    first = codebooks[0]
    same = len(codebooks) > 1 and all(
        _initialised({level: one}) == _initialised({0: first})
        and all(one[name].tobytes() == first[name].tobytes() for name in _TENSORS)
        for level, one in codebooks.items()
    )
    if hints.get("shared") is True and not same:
        raise InputError(
            f"the hint shared=true contradicts {str(path)!r}, whose levels hold different codes"
        )
    return bool(hints.get("shared", same))


def written_spec(path: Path, config: str, hints: Mapping[str, Any]) -> Spec:
    """The spec that a file of ours names.

    Raises:
        InputError: a hint that contradicts it.
        WeightError: no spec of a quantiser.
    """
    spec = read_config(config, f"the configuration in {str(path)!r}")
    if not isinstance(spec, VectorQuantizerSpec | ResidualVqSpec):
        raise WeightError(f"the configuration in {str(path)!r} is of a {spec.kind}")
    part = spec if isinstance(spec, VectorQuantizerSpec) else spec.quantizer
    only = {**ONLY, **(ONLY_OF_LEVELS if isinstance(spec, ResidualVqSpec) else {})}
    for name, value in hints.items():
        found = only.get(name, getattr(spec if name == "shared" else part, name, None))
        if found != value:
            raise InputError(
                f"the hint {name}={value} contradicts {str(path)!r}, which says {name}={found}"
            )
    return spec
