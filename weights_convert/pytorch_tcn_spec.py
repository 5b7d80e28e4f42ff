"""The spec of a pytorch-tcn net: from its file and the caller's hints, and back to arguments."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tcnzoo.converted import Undetermined
from tcnzoo.errors import InputError, SpecError
from tcnzoo.specs import ActivationSpec, BatchNormSpec, LayerNormSpec, SequentialSpec, Spec, TcnSpec
from tcnzoo.zoo import parse_spec

HINTS = (
    "in_channels", "channels", "kernel_size", "dilations", "dilation_reset", "dropout", "causal",
    "norm", "activation", "gate", "embeddings", "embedding_mode", "skip_connections",
    "output_projection", "output_activation",
)  # fmt: skip
# What changes no output, or is as odd without a projection as it is common with one.
DEFAULTS: Mapping[str, Any] = {"dropout": 0.1, "output_activation": None}

ACTIVATIONS = ("relu", "tanh", "leaky_relu", "sigmoid", "elu", "gelu", "selu")
SOFTMAXES = ("softmax", "log_softmax")
# Fields that say the same thing in several ways -> the property to compare.
_COMPARED = {
    "kernel_size": "kernel_sizes",
    "dilations": "dilation_of",
    "dilation_reset": "dilation_of",
}


def completed(
    path: Path, facts: Mapping[str, Any], hints: Mapping[str, Any]
) -> tuple[TcnSpec, dict[str, Any]]:
    """Join facts of a file and hints.

    Args:
        path: of the file.
        facts: as `facts_of` gives them.
        hints: checked values.
    Returns:
        the spec, and the fields that were assumed.
    Raises:
        Undetermined: fields are left open.
        InputError: a hint that contradicts the file.
        SpecError: a value that a tcn cannot have, or a softmax, which means something else there.
    """
    fields = dict(facts)
    width = fields.pop("embedding_width", 0)
    missing = list(_missing(fields, width, hints))
    if missing:
        examples = _examples(len(fields["channels"]), width)
        asked = " ".join(f"--set {name}={examples[name]}" for name in missing)
        raise Undetermined(
            f"{str(path)!r} does not determine {', '.join(missing)}; give the values of the net, "
            f"as in: {asked}",
            fields | ({"embeddings": width} if width else {}),
        )
    spec = agreeing(path, {"kind": "tcn", **fields}, hints)
    total = sum(embedding.channels for embedding in spec.embeddings)
    if total != width:
        raise InputError(
            f"the embeddings in {str(path)!r} have {width} channels in all, but the hint "
            f"embeddings={hints.get('embeddings')} makes {total}"
        )
    return spec, {name: value for name, value in DEFAULTS.items() if name not in hints}


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
    }


def _missing(fields: Mapping[str, Any], width: int, hints: Mapping[str, Any]) -> Iterator[str]:
    """Names of the hints that are needed and not there."""
    if "dilations" not in fields and not {"dilations", "dilation_reset"} & hints.keys():
        yield "dilations"
    asked = ["causal", "activation"]
    asked += ["skip_connections"] if "skip_connections" not in fields else []
    asked += ["embeddings", "embedding_mode"] if width else []
    asked += ["output_activation"] if fields["output_projection"] is not None else []
    yield from (name for name in asked if name not in hints)


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
    _check_softmax(spec)
    return spec


def _listed(name: str, value: Any) -> Any:
    """A single value for a field that takes a list, as a list."""
    listed = name in ("channels", "dilations", "embeddings") and isinstance(value, int | dict)
    return [value] if listed else value


def _check_softmax(spec: TcnSpec) -> None:
    """Refuse the activations that mean something else there."""
    for name in ("activation", "output_activation"):
        activation = getattr(spec, name)
        if activation is not None and activation.name in SOFTMAXES:
            raise SpecError(
                f"{name} {activation.name!r} cannot be converted, because pytorch-tcn's runs over "
                f"the batch and tcnzoo's over the channels"
            )


def arguments_of(spec: Spec) -> dict[str, Any]:
    """Arguments of `pytorch_tcn.TCN` that make the net of a spec.

    Raises:
        SpecError: pytorch-tcn has no such net; the sentence names every field that is against it.
    """
    if not isinstance(spec, TcnSpec):
        inside = list(spec.layers) if isinstance(spec, SequentialSpec) else []
        what = f"{spec.kind} of {', '.join(inside)}" if inside else spec.kind
        raise SpecError(f"pytorch-tcn holds a single model of kind 'tcn', but this is a {what}")
    _check_softmax(spec)
    obstacles = list(_obstacles(spec))
    if obstacles:
        raise SpecError(f"pytorch-tcn cannot hold this model: {'; '.join(obstacles)}")
    arguments = {
        "num_inputs": spec.in_channels,
        "num_channels": list(spec.channels),
        "kernel_size": spec.kernel_sizes[0],
        "dilations": list(spec.dilation_of),
        "dropout": spec.dropout,
        "causal": spec.causal,
        "use_norm": spec.norm.kind if spec.norm else None,
        "activation": spec.activation.name,
        "use_skip_connections": spec.skip_connections,
        "use_gate": spec.gate,
        "output_projection": spec.output_projection,
        "output_activation": spec.output_activation.name if spec.output_activation else None,
    }
    if spec.embeddings:
        arguments["embedding_shapes"] = [[embedding.channels] for embedding in spec.embeddings]
        arguments["embedding_mode"] = spec.embedding_mode
    return arguments


def _obstacles(spec: TcnSpec) -> Iterator[str]:
    """Say which fields pytorch-tcn has no argument for."""
    if spec.squeeze_excitation is not None:
        yield "it has no squeeze_excitation"
    if spec.padding_mode != "zeros":
        yield f"padding_mode must be 'zeros', but is {spec.padding_mode!r}"
    if len(set(spec.kernel_sizes)) > 1:
        yield f"kernel_size must be the same for all blocks, but is {list(spec.kernel_sizes)}"
    if isinstance(spec.norm, BatchNormSpec | LayerNormSpec) and spec.norm.eps != 1e-5:
        yield f"norm.eps must be 1e-05, but is {spec.norm.eps}"
    if isinstance(spec.norm, BatchNormSpec) and spec.norm.momentum != 0.1:
        yield f"norm.momentum must be 0.1, but is {spec.norm.momentum}"
    for name in ("activation", "output_activation"):
        yield from _activation_obstacles(name, getattr(spec, name))


def _activation_obstacles(field: str, activation: ActivationSpec | None) -> Iterator[str]:
    """Say what of an activation it cannot be told."""
    if activation is None:
        return
    if activation.name not in ACTIVATIONS:
        yield f"{field} must be one of {', '.join(ACTIVATIONS)}, but is {activation.name!r}"
    if activation.name == "leaky_relu" and activation.slope != 0.01:
        yield f"{field}.slope must be 0.01, but is {activation.slope}"
    if activation.name == "elu" and activation.alpha != 1.0:
        yield f"{field}.alpha must be 1.0, but is {activation.alpha}"
