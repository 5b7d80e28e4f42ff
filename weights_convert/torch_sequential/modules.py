"""The modules of torch that make a spec as one `nn.Sequential`: one place each, in order.

A layer of ours may need two: a causal convolution is a pad and a convolution, a global average a
pool and a flattening. Parameters stay with the one that has them.

Source: torch.nn (2.13) for the names in a state_dict.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tcnzoo.errors import InputError, SpecError
from tcnzoo.specs import Shape, Spec

from .texts import WRITERS, Unlike

# Blocks that are their parts, one after the other.
CHAINS = ("sequential", "conv_block", "dense_block")
# Our name of a parameter -> torch's, where they differ.
NAMES = {
    "weight_g": "parametrizations.weight.original0",
    "weight_v": "parametrizations.weight.original1",
}


@dataclass(frozen=True)
class Module:
    """One module of an `nn.Sequential`.

    Attributes:
        text: how it is made, in the words of torch.nn.
        params: its tensors -> the neutral ones; empty for a module without any.
    """

    text: str
    params: Mapping[str, str]


def modules_of(spec: Spec) -> list[Module]:
    """The modules of a spec, in order.

    Raises:
        SpecError: a layer that is no chain of such modules, or computes something else than its
            namesake in torch; the sentence names it.
    """
    return list(_walk(spec, "", _start(spec)))


def _start(spec: Spec) -> Shape:
    """A shape that the spec takes: a vector where it takes one, else the shortest signal."""
    channels = spec.input_channels or 1
    try:
        spec.output_shape((channels,))
    except InputError:
        return channels, spec.min_length()
    return (channels,)


def _walk(spec: Spec, path: str, shape: Shape) -> Iterator[Module]:
    """Yield the modules of a spec that takes a shape."""
    if spec.kind in CHAINS:
        for name, part in spec.children().items():
            yield from _walk(part, f"{path}.{name}" if path else name, shape)
            shape = part.output_shape(shape)
        return
    texts = list(_texts(spec, path or spec.kind, len(shape) == 2))
    holder = next((number for number, text in enumerate(texts) if "Pad1d" not in text), 0)
    for number, text in enumerate(texts):
        names = list(spec.own_params()) if number == holder else []
        prefix = f"{path}." if path else ""
        yield Module(text, {NAMES.get(name, name): prefix + name for name in names})


def _texts(spec: Spec, path: str, signal: bool) -> Iterator[str]:
    """How the modules of one layer are made."""
    writer = WRITERS.get(type(spec))
    if writer is None:
        raise SpecError(
            f"an nn.Sequential is a chain of plain layers, but {path!r} is a {spec.kind}"
        )
    try:
        yield from writer(spec, signal)
    except Unlike as reason:
        raise SpecError(
            f"no layer of an nn.Sequential computes what {path!r} does: {reason}"
        ) from None
