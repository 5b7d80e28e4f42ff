"""The spec of a net of pytorch-tcn or a relative of it: from its file and the caller's hints."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from tcnzoo.checkpoints.directory import read_config
from tcnzoo.errors import InputError
from tcnzoo.formats.report import Undetermined
from tcnzoo.specs import TcnSpec
from tcnzoo.zoo.parse import parse_spec

from ..containers.own import check_mark, mark
from ..containers.state_dicts import PREFIX
from .arguments import the_tcn

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


def completed(
    path: Path,
    facts: Mapping[str, Any],
    hints: Mapping[str, Any],
    defaults: Mapping[str, Any] = DEFAULTS,
    asked: Collection[str] = (),
) -> tuple[TcnSpec, dict[str, Any]]:
    """Join facts of a file and hints.

    Args:
        path: of the file.
        facts: as `facts_of` gives them, and what else the kind of file says.
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
    fields = dict(facts)
    width = fields.pop("embedding_width", 0)
    missing = [*_missing(fields, width, hints), *asked]
    if missing:
        examples = _examples(len(fields["channels"]), width)
        sample = " ".join(f"--set {name}={examples[name]}" for name in missing)
        raise Undetermined(
            f"{str(path)!r} does not determine {', '.join(missing)}; give the values of the net, "
            f"as in: {sample}",
            fields | ({"embeddings": width} if width else {}),
        )
    assumed = {name: value for name, value in defaults.items() if name not in {**fields, **hints}}
    spec = agreeing(path, {"kind": "tcn", **fields}, {**assumed, **hints})
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


def agreeing(path: Path, fields: Mapping[str, Any], hints: Mapping[str, Any]) -> TcnSpec:
    """The spec of a file's fields and hints together, if no hint contradicts a field."""
    document = {**fields, **{name: _listed(name, value) for name, value in hints.items()}}
    if hints.get("dilation_reset") is not None:
        document.pop("dilations", None)
    spec, plain = parse_spec(document), parse_spec(fields)
    for name in fields:
        compared = _COMPARED.get(name, name)
        if getattr(spec, compared) != getattr(plain, compared):
            key = name if name in hints else "dilation_reset"
            raise InputError(
                f"the hint {key}={hints[key]} contradicts {str(path)!r}, which says {name}="
                f"{fields[name]}"
            )
    assert isinstance(spec, TcnSpec)
    return spec


def written_in(name: str, path: Path, beside: Mapping[str, Any]) -> TcnSpec | None:
    """The spec that a file of our making carries.

    Args:
        name: of the format.
        path: of the file.
        beside: what stands beside the tensors.
    Returns:
        None where there is none.
    Raises:
        WeightError: another format's mark, or a damaged configuration.
        SpecError: no tcn.
    """
    check_mark(name, path, beside)
    config = beside.get("config")
    if beside.get("format") != mark(name) or not isinstance(config, str):
        return None
    return the_tcn(name, read_config(config, f"the configuration in {str(path)!r}"))


def _listed(name: str, value: Any) -> Any:
    """A single value for a field that takes a list, as a list."""
    listed = name in ("channels", "dilations", "embeddings") and isinstance(value, int | dict)
    return [value] if listed else value
