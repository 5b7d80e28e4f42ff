"""The DeepEpi net of an OpenSeizureDetector file: from its tensors, and what such a file can hold.

Source: names, shapes and strides of OpenSeizureDetector, nnTraining2, `DeepEpiCnn`: facts only.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tcnzoo.errors import SpecError, WeightError
from tcnzoo.specs import ConvBlockSpec, DenseBlockSpec, SequentialSpec, Spec
from tcnzoo.zoo.foreign.osd import code_strides, deepepi_document
from tcnzoo.zoo.parse import parse_spec

Shapes = Mapping[str, tuple[int, ...]]

# Places that a convolution block takes in `conv_stack`: the kernel, the norm, the activation, and,
# only where there is one, the dropout.
PLAIN_STEP, DROPOUT_STEP = 3, 4
KINDS = ("conv_block", "pool", "dense_block", "dense")

_CONV = re.compile(r"conv_stack\.(\d+)\.(\w+)")


def sizes_of(path: Path, shapes: Shapes) -> dict[str, Any]:
    """What the tensors determine, as arguments of `deepepi_document`.

    Raises:
        WeightError: tensors of no such net.
    """
    kernels = [shapes[f"conv_stack.{place}.weight"] for place in _places(shapes)]
    dense: list[tuple[int, ...]] = []
    while f"fc{len(dense) + 1}.weight" in shapes:
        dense.append(shapes[f"fc{len(dense) + 1}.weight"])
    last = shapes.get("fc_out.weight", ())
    if not kernels or not dense or {len(shape) for shape in [*dense, last]} != {2}:
        raise WeightError(
            f"{str(path)!r} must hold the kernels of conv_stack, fc1 .. and fc_out, but does not"
        )
    return {
        "in_channels": kernels[0][1],
        "filters": [shape[0] for shape in kernels],
        "kernel_sizes": [shape[2] for shape in kernels],
        "dense": [shape[0] for shape in dense],
        "classes": last[0],
    }


def step_of(path: Path, shapes: Shapes) -> int:
    """How many places of `conv_stack` a block takes.

    Raises:
        WeightError: neither three nor four, or not the same for all.
    """
    places = _places(shapes)
    for step in (PLAIN_STEP, DROPOUT_STEP):
        if places == list(range(0, step * len(places), step)) and len(places) > 1:
            return step
    raise WeightError(
        f"the kernels of conv_stack in {str(path)!r} must be at every third place, or with dropout "
        f"at every fourth, but are at {', '.join(map(str, places))}"
    )


def _places(shapes: Shapes) -> list[int]:
    """Places of the convolutions in `conv_stack`."""
    matches = ((_CONV.fullmatch(name), shape) for name, shape in shapes.items())
    return sorted(
        int(match[1])
        for match, shape in matches
        if match and match[2] == "weight" and len(shape) == 3
    )


def foreign_names(spec: SequentialSpec) -> dict[str, str]:
    """Names of the origin by neutral ones, for a DeepEpi net of any strides."""
    dropouts = [layer.dropout for layer in spec.layers.values() if isinstance(layer, ConvBlockSpec)]
    step = DROPOUT_STEP if dropouts[0] else PLAIN_STEP
    names: dict[str, str] = {}
    convs = denses = 0
    for name, layer in spec.layers.items():
        places = {"": "fc_out"}
        if isinstance(layer, ConvBlockSpec):
            places = {
                "conv": f"conv_stack.{convs * step}",
                "norm": f"conv_stack.{convs * step + 1}",
            }
            convs += 1
        elif isinstance(layer, DenseBlockSpec):
            denses += 1
            places = {"dense": f"fc{denses}", "norm": f"bn{denses}"}
        for row in layer.params():
            part, _, tensor = row.rpartition(".")
            names[f"{name}.{row}"] = f"{places[part]}.{tensor}"
    return names


def described(spec: Spec) -> dict[str, Any]:
    """Arguments of `deepepi_document` that make a spec.

    Raises:
        SpecError: the origin has no such net; the sentence names all that is against it.
    """
    layers = list(spec.layers.values()) if isinstance(spec, SequentialSpec) else [spec]
    kinds = [layer.kind for layer in layers]
    if tuple(dict.fromkeys(kinds)) != KINDS or kinds != sorted(kinds, key=KINDS.index):
        raise SpecError(
            "osd-torch holds a DeepEpi net, which is conv_blocks, a global average pool, "
            f"dense_blocks and a dense layer for logits, but this is {', '.join(_runs(kinds))}"
        )
    convs = [layer for layer in layers if isinstance(layer, ConvBlockSpec)]
    dense = [layer for layer in layers if isinstance(layer, DenseBlockSpec)]
    found = {
        "in_channels": convs[0].in_channels,
        "filters": [layer.out_channels for layer in convs],
        "kernel_sizes": [layer.kernel_size for layer in convs],
        "dense": [layer.out_features for layer in dense],
        "classes": layers[-1].model_dump()["out_features"],
        "conv_dropout": convs[0].dropout,
        "dense_dropout": dense[0].dropout,
    }
    assert isinstance(spec, SequentialSpec)
    _check_same(spec, parse_spec(deepepi_document("torch", **found)))
    return found | {"strides": code_strides(len(convs))}


def _check_same(spec: SequentialSpec, wanted: Spec) -> None:
    """Raise SpecError unless two specs are the same but for names and initial values."""
    assert isinstance(wanted, SequentialSpec)
    if len(spec.layers) != len(wanted.layers):
        raise SpecError("osd-torch holds a net with one pool and one dense layer for logits")
    differences = [
        difference
        for (name, layer), expected in zip(spec.layers.items(), wanted.layers.values(), strict=True)
        for difference in _differences(name, layer.model_dump(), expected.model_dump())
    ]
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise SpecError(f"osd-torch cannot hold this model: {'; '.join(differences[:3])}{more}")


def _differences(place: str, found: Any, wanted: Any) -> Iterator[str]:
    """Say which values differ from those that the origin's code has."""
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        for name in wanted.keys() - {"initializer"}:
            yield from _differences(f"{place}.{name}", found.get(name), wanted[name])
    elif found != wanted:
        yield f"{place} must be {wanted}, but is {found}"


def _runs(kinds: Sequence[str]) -> list[str]:
    """Kinds in order, each run of one named once."""
    return [kind for place, kind in enumerate(kinds) if place == 0 or kinds[place - 1] != kind]
