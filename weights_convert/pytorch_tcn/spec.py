"""The spec of a net of pytorch-tcn or a relative of it: from its file and the caller's hints."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from tcnzoo.errors import InputError
from tcnzoo.formats.report import Undetermined
from tcnzoo.specs import TcnSpec
from tcnzoo.zoo.parse import parse_spec

from ..containers.own import embedded_spec
from ..containers.state_dicts import PREFIX
from ..hints import contradiction, spec_from_facts
from .arguments import the_tcn
from .facts import TcnFacts

FIELDS = (
    "in_channels", "channels", "kernel_size", "dilations", "dilation_reset", "dropout", "causal",
    "norm", "activation", "gate", "embeddings", "embedding_mode", "skip_connections",
    "output_projection", "output_activation",
)  # fmt: skip
HINTS = (*FIELDS, PREFIX)
# What changes no output.
DEFAULTS: Mapping[str, Any] = {"dropout": 0.1}

# Fields that say the same thing in several ways -> the property to compare.
_COMPARED = {
    "kernel_size": "kernel_sizes",
    "dilations": "dilation_of",
    "dilation_reset": "dilation_of",
}


def tcn_from_facts(
    path: Path,
    facts: TcnFacts,
    hints: Mapping[str, Any],
    defaults: Mapping[str, Any] = DEFAULTS,
    asked: Collection[str] = (),
) -> tuple[TcnSpec, dict[str, Any]]:
    """Join facts of a file and hints.

    Args:
        path: of the file.
        facts: what the file says.
        hints: checked values of fields.
        defaults: fields that are assumed where neither says them.
        asked: what else the file leaves open, and no hint says.
    Returns:
        the spec, and the fields that were assumed.
    Raises:
        Undetermined: fields are left open.
        InputError: a hint that contradicts the file.
        SpecError: a value that a tcn cannot have.
    """
    fields, width = facts.fields(), facts.embedding_width
    missing = [*_missing(fields, width, hints), *asked]
    if missing:
        examples = _examples(len(facts.channels), width)
        sample = " ".join(f"--set {name}={examples[name]}" for name in missing)
        raise Undetermined(
            f"{str(path)!r} does not determine {', '.join(missing)}; give the values of the net, "
            f"as in: {sample}",
            fields | ({"embeddings": width} if width else {}),
        )
    spec, assumed = _with_hints(path, {"kind": "tcn", **fields}, hints, defaults)
    total = sum(embedding.channels for embedding in spec.embeddings)
    if total != width:
        raise InputError(
            f"the embeddings in {str(path)!r} have {width} channels in all, but the hint "
            f"embeddings={hints.get('embeddings')} makes {total}"
        )
    return spec, assumed


def _examples(depth: int, width: int) -> dict[str, str]:
    """How hints are written on the command line, for the sentence that asks for them."""
    return {
        "dilations": ",".join(str(2**level) for level in range(depth)),
        "causal": "true",
        "activation": "relu",
        "skip_connections": "false",
        "embeddings": str(width),
        "embedding_mode": "add",
        "output_activation": "none",
        "se_residual": "false",
    }


def _missing(fields: Mapping[str, Any], width: int, hints: Mapping[str, Any]) -> Iterator[str]:
    """Names of the hints that are needed and not there."""
    known = {*fields, *hints}
    if not {"dilations", "dilation_reset"} & known:
        yield "dilations"
    asked = ["causal", "activation", "skip_connections", "output_activation"]
    asked += ["embeddings", "embedding_mode"] if width else []
    yield from (name for name in asked if name not in known)


def embedded_tcn(name: str, path: Path, beside: Mapping[str, Any]) -> TcnSpec | None:
    """The spec of a file of our making, which must be a tcn; raises as `embedded_spec`."""
    spec = embedded_spec(name, path, beside)
    return None if spec is None else the_tcn(name, spec)


def check_tcn_hints(path: Path, spec: TcnSpec, hints: Mapping[str, Any]) -> TcnSpec:
    """The spec that a file of our making carries, with what hints say in another way.

    Raises:
        InputError: a hint that contradicts it.
    """
    return _with_hints(path, spec.model_dump(mode="json"), hints, {})[0]


def _with_hints(
    path: Path, fields: Mapping[str, Any], hints: Mapping[str, Any], defaults: Mapping[str, Any]
) -> tuple[TcnSpec, dict[str, Any]]:
    """The spec of fields, hints and defaults, if no hint contradicts a field."""
    said = dict(fields)
    given = {name: _listed(name, value) for name, value in hints.items()}
    if hints.get("dilation_reset") is not None:
        said.pop("dilations", None)
        given.pop("dilations", None)
    spec, assumed = spec_from_facts(said, given, defaults)
    plain = parse_spec(fields)
    for name, value in fields.items():
        compared = _COMPARED.get(name, name)
        if getattr(spec, compared) != getattr(plain, compared):
            hint = name if name in hints else "dilation_reset"
            raise contradiction(path, f"{hint}={hints[hint]}", f"says {name}={value}")
    return the_tcn("this format", spec), assumed


def _listed(name: str, value: Any) -> Any:
    """A single value for a field that takes a list, as a list."""
    listed = name in ("channels", "dilations", "embeddings") and isinstance(value, int | dict)
    return [value] if listed else value
