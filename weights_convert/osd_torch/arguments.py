"""Arguments that make a DeepEpi net as OpenSeizureDetector's code has it, from a spec and back.

Source: names, shapes and strides of OpenSeizureDetector, nnTraining2, `DeepEpiCnn`: facts only.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tcnzoo.errors import SpecError
from tcnzoo.specs import ConvBlockSpec, DenseBlockSpec, SequentialSpec, Spec
from tcnzoo.zoo.foreign.osd import code_strides, deepepi_document
from tcnzoo.zoo.parse import parse_spec

KINDS = ("conv_block", "pool", "dense_block", "dense")


def deepepi_spec(arguments: Mapping[str, Any]) -> SequentialSpec:
    """The spec that arguments of `deepepi_document` make.

    Raises:
        SpecError: values that such a net cannot have.
    """
    return the_chain(parse_spec(deepepi_document("torch", **arguments)))


def the_chain(spec: Spec) -> SequentialSpec:
    """The spec as a chain of layers.

    Raises:
        SpecError: another model.
    """
    if isinstance(spec, SequentialSpec):
        return spec
    raise _other_net([spec.kind])


def _other_net(kinds: Sequence[str]) -> SpecError:
    return SpecError(
        "osd-torch holds a DeepEpi net, which is conv_blocks, a global average pool, "
        f"dense_blocks and a dense layer for logits, but this is {', '.join(_runs(kinds))}"
    )


def arguments_of(spec: SequentialSpec) -> dict[str, Any]:
    """Arguments of `deepepi_document` that make a spec.

    Raises:
        SpecError: the origin has no such net; the sentence names all that is against it.
    """
    layers = list(spec.layers.values())
    kinds = [layer.kind for layer in layers]
    if tuple(dict.fromkeys(kinds)) != KINDS or kinds != sorted(kinds, key=KINDS.index):
        raise _other_net(kinds)
    convs = [layer for layer in layers if isinstance(layer, ConvBlockSpec)]
    dense = [layer for layer in layers if isinstance(layer, DenseBlockSpec)]
    arguments = {
        "in_channels": convs[0].in_channels,
        "filters": [layer.out_channels for layer in convs],
        "kernel_sizes": [layer.kernel_size for layer in convs],
        "dense": [layer.out_features for layer in dense],
        "classes": layers[-1].model_dump()["out_features"],
        "conv_dropout": convs[0].dropout,
        "dense_dropout": dense[0].dropout,
    }
    _check_same(spec, deepepi_spec(arguments))
    return arguments | {"strides": code_strides(len(convs))}


def _check_same(spec: SequentialSpec, wanted: SequentialSpec) -> None:
    """Raise SpecError unless two specs are the same but for names and initial values."""
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


def _differences(path: str, value: Any, wanted: Any) -> Iterator[str]:
    """Say which values differ from those that the origin's code has."""
    if isinstance(value, Mapping) and isinstance(wanted, Mapping):
        for name in wanted.keys() - {"initializer"}:
            yield from _differences(f"{path}.{name}", value.get(name), wanted[name])
    elif value != wanted:
        yield f"{path} must be {wanted}, but is {value}"


def _runs(kinds: Sequence[str]) -> list[str]:
    """Kinds in order, each run of one named once."""
    return [kind for kind, _ in itertools.groupby(kinds)]
