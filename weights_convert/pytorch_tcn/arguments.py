"""Arguments that make a net in pytorch-tcn or a relative of it, and what these cannot hold."""

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from tcnzoo.errors import InputError, SpecError
from tcnzoo.files.atomic import replacing_pair
from tcnzoo.specs import ActivationSpec, BatchNormSpec, LayerNormSpec, SequentialSpec, Spec, TcnSpec

ACTIVATIONS = ("relu", "tanh", "leaky_relu", "sigmoid", "elu", "gelu", "selu")
SOFTMAXES = ("softmax", "log_softmax")


def the_tcn(project: str, spec: Spec) -> TcnSpec:
    """The spec as a single tcn.

    Raises:
        SpecError: another model, or a composition.
    """
    if isinstance(spec, TcnSpec):
        return spec
    inside = list(spec.layers) if isinstance(spec, SequentialSpec) else []
    what = f"{spec.kind} of {', '.join(inside)}" if inside else spec.kind
    raise SpecError(f"{project} holds a single model of kind 'tcn', but this is a {what}")


def refuse(project: str, obstacles: Iterator[str]) -> None:
    """Raise SpecError with every obstacle in one sentence, if there is one."""
    sentences = list(obstacles)
    if sentences:
        raise SpecError(f"{project} cannot hold this model: {'; '.join(sentences)}")


def check_softmax(spec: TcnSpec) -> None:
    """Refuse the activations that mean something else in pytorch-tcn."""
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
    tcn = the_tcn("pytorch-tcn", spec)
    check_softmax(tcn)
    refuse("pytorch-tcn", _obstacles(tcn))
    kernel = {"num_inputs": tcn.in_channels, "kernel_size": tcn.kernel_sizes[0]}
    return {**kernel, **shared_arguments(tcn)}


def shared_arguments(spec: TcnSpec) -> dict[str, Any]:
    """The arguments that pytorch-tcn and mlx-tcn name alike."""
    arguments = {
        "num_channels": list(spec.channels),
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
    yield from kernel_size_obstacles(spec)
    yield from shared_obstacles(spec, ACTIVATIONS)


def kernel_size_obstacles(spec: TcnSpec) -> Iterator[str]:
    """Say that the kernels must be of one size."""
    if len(set(spec.kernel_sizes)) > 1:
        yield f"kernel_size must be the same for all blocks, but is {list(spec.kernel_sizes)}"


def shared_obstacles(spec: TcnSpec, activations: Collection[str]) -> Iterator[str]:
    """Say which fields neither pytorch-tcn nor mlx-tcn has an argument for."""
    if spec.padding_mode != "zeros":
        yield f"padding_mode must be 'zeros', but is {spec.padding_mode!r}"
    if isinstance(spec.norm, BatchNormSpec | LayerNormSpec) and spec.norm.eps != 1e-5:
        yield f"norm.eps must be 1e-05, but is {spec.norm.eps}"
    if isinstance(spec.norm, BatchNormSpec) and spec.norm.momentum != 0.1:
        yield f"norm.momentum must be 0.1, but is {spec.norm.momentum}"
    for name in ("activation", "output_activation"):
        yield from _activation_obstacles(name, getattr(spec, name), activations)


def _activation_obstacles(
    field: str, activation: ActivationSpec | None, known: Collection[str]
) -> Iterator[str]:
    """Say what of an activation it cannot be told."""
    if activation is None:
        return
    if activation.name not in known:
        yield f"{field} must be one of {', '.join(known)}, but is {activation.name!r}"
    if activation.name == "leaky_relu" and activation.slope != 0.01:
        yield f"{field}.slope must be 0.01, but is {activation.slope}"
    if activation.name == "elu" and activation.alpha != 1.0:
        yield f"{field}.alpha must be 1.0, but is {activation.alpha}"


@contextlib.contextmanager
def arguments_beside(project: str, path: Path, arguments: Mapping[str, Any]) -> Iterator[Path]:
    """Write the arguments beside a file that the block writes, under its name with .json.

    The block is given the name that it is to write under.

    Both are there when the block has ended well, and else neither.

    Raises:
        InputError: the .json is there and is not one of arguments.
    """
    beside = path.with_suffix(".json")
    _check_beside(project, beside)
    with replacing_pair(path, beside) as (temporary, arguments_file):
        arguments_file.write_text(json.dumps(arguments, indent=2) + "\n", encoding="utf-8")
        yield temporary


def _check_beside(project: str, path: Path) -> None:
    """Refuse to replace a .json that is not one of ours."""
    if not path.exists():
        return
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        document = None
    if not isinstance(document, dict) or not {"num_inputs", "num_channels"} <= document.keys():
        raise InputError(
            f"{str(path)!r}, where the arguments of {project} would go, exists already and holds "
            "something else; choose another name"
        )
