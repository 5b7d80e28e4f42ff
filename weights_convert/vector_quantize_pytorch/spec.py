"""The spec of a vector-quantize-pytorch codebook, from its tensors and from hints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.formats.report import Undetermined
from tcnzoo.specs import ResidualVqSpec, Spec, VectorQuantizerSpec
from tcnzoo.zoo.parse import parse_spec

from ..hints import check_hints
from .facts import Codebooks, QuantizerFacts, facts_of

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


def quantizer_from_codebooks(
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
    facts = facts_of(path, codebooks)
    cosine = _cosine(path, facts, hints)
    fields = {"codes": facts.codes, "channels": facts.channels, "cosine": cosine}
    defaults = _defaults(facts)
    said = {name: hints[name] for name in (*defaults, "kmeans_iterations") if name in hints}
    quantizer = {**defaults, **said, **fields}
    options = {**only, **defaults}
    assumed = {name: value for name, value in options.items() if name not in hints}
    if facts.levels is None:
        if "shared" in hints:
            raise InputError(f"the hint shared is of levels, but {str(path)!r} holds one codebook")
        return parse_spec({"kind": "vector_quantizer", **quantizer}), assumed
    shared = _shared(path, facts, hints)
    if shared and "shared" not in hints:
        assumed["shared"] = True
    document = {"kind": "residual_vq", "levels": len(facts.levels), "shared": shared}
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


def _cosine(path: Path, facts: QuantizerFacts, hints: Mapping[str, Any]) -> bool:
    """Whether codes are compared by their angle: ruled out by their lengths, or as a hint says."""
    if facts.not_cosine:
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
    if hints["cosine"] and facts.shorter and facts.initialised:
        raise SpecError(
            f"{facts.shorter} of the {facts.lengths.size} codes in {str(path)!r} are shorter than "
            "1, as the library leaves codes that it no longer uses; with cosine=true these have no "
            "counterpart: replace them (threshold_ema_dead_code) and save the model again"
        )
    return bool(hints["cosine"])


def _defaults(facts: QuantizerFacts) -> dict[str, Any]:
    """What the library takes where nothing is said."""
    gradient = {} if facts.channels > 1 else {"gradient": "straight_through"}
    kmeans = {} if facts.initialised else {"kmeans_iterations": KMEANS}
    return {**DEFAULTS, **gradient, **kmeans}


def _shared(path: Path, facts: QuantizerFacts, hints: Mapping[str, Any]) -> bool:
    """Whether all levels share a codebook: they then hold the same bits."""
    levels = facts.levels or []
    if sorted(levels) != list(range(len(levels))):
        raise WeightError(
            f"{str(path)!r} must hold the levels layers.0 to layers.{len(levels) - 1}"
        )
    if hints.get("shared") is True and not facts.same:
        raise InputError(
            f"the hint shared=true contradicts {str(path)!r}, whose levels hold different codes"
        )
    return bool(hints.get("shared", facts.same))


def check_quantizer_hints(path: Path, spec: Spec, hints: Mapping[str, Any]) -> Spec:
    """The spec of a file of our making, as it is.

    Raises:
        InputError: a hint that contradicts it.
        WeightError: no spec of a quantiser.
    """
    if not isinstance(spec, VectorQuantizerSpec | ResidualVqSpec):
        raise WeightError(f"the configuration in {str(path)!r} is of a {spec.kind}")
    part = spec if isinstance(spec, VectorQuantizerSpec) else spec.quantizer
    only = {**ONLY, **(ONLY_OF_LEVELS if isinstance(spec, ResidualVqSpec) else {})}
    said = {
        name: only.get(name, getattr(spec if name == "shared" else part, name, None))
        for name in hints
    }
    check_hints(path, said, hints)
    return spec
