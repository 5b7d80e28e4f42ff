"""keras-tcn's `TCN` layer as blocks of ours.

Each of its residual blocks is two times (convolution, norm, activation, dropout), then the
activation once more; that is what the skip connections sum, with no activation after the sum and
without the last residual sum. Our `tcn` has one activation there and another sum, so it stands for
a TCN only without skip connections and where the activation may be applied twice; else a `graph`
does.

Source: keras-tcn 3.5.6, and for weight norm 3.5.0 (MIT), https://github.com/philipperemy/keras-tcn.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tcnzoo.errors import SpecError
from tcnzoo.specs import Shape

from ..containers.keras import Variable
from ..keras_chain.activation import named, number
from ..keras_chain.chain import Layer
from ..keras_chain.layers import pieces_of
from ..keras_chain.pieces import Piece, Stored, padding, whole

# Packages that the class is in; a legacy file does not say.
PACKAGES = ("", "tcn")
# Blocks that a net may claim to have.
MOST_BLOCKS = 10_000
# Activations that do nothing to their own output.
TWICE = ("linear", "relu", "relu6")
# Option of the layer -> our norm, with Keras's constants, which keras-tcn leaves as they are.
NORMS: Mapping[str, dict[str, Any]] = {
    "use_batch_norm": {"kind": "batch_norm", "eps": 1e-3, "momentum": 0.01},
    "use_layer_norm": {"kind": "layer_norm", "eps": 1e-3},
    "use_weight_norm": {"kind": "weight_norm"},
}
NORM_VARIABLES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "batch_norm": (
        ("weight", "gamma"), ("bias", "beta"),
        ("running_mean", "moving_mean"), ("running_var", "moving_variance"),
    ),
    "layer_norm": (("weight", "gamma"), ("bias", "beta")),
}  # fmt: skip
# Groups that keras-tcn lists the norms of a block in, and the stem of each.
NORM_GROUPS = {
    "batch_norm": ("batch_norm_layers", "batch_normalization"),
    "layer_norm": ("layer_norm_layers", "layer_normalization"),
}
UNUSED = "the matching convolution of a last block with skip connections, which no output reads"
BESIDE = {
    r".*/weight_normalization(_\d+)?/vars/2|.*/initialized(:0)?": (
        "a sign that the weight norm has been set by data"
    ),
    r".*/(_naked_clone_layer|data_dep_init)/.*": "start values of a weight norm",
}


@dataclass(frozen=True)
class Net:
    """The options of one TCN layer.

    Attributes:
        widths: channels before the first block and after each.
        dilations: one for each block.
        norm: document of the norm, or none.
        activation: document of the activation.
    """

    widths: tuple[int, ...]
    dilations: tuple[int, ...]
    kernel_size: int
    causal: bool
    skip: bool
    dropout: float
    norm: Mapping[str, Any] | None
    activation: Mapping[str, Any]

    @property
    def last(self) -> int:
        """Number of the last block, whose residual sum skip connections leave unread."""
        return len(self.dilations) - 1

    def matches(self, level: int) -> bool:
        """Whether the residual sum of a block is read, and needs a convolution to match widths."""
        read = not self.skip or level < self.last
        return read and self.widths[level] != self.widths[level + 1]

    @property
    def plain(self) -> bool:
        """Whether our `tcn` is the same net."""
        return not self.skip and self.activation["name"] in TWICE


def tcn_pieces(layer: Layer, shape: Shape) -> Iterator[Piece]:
    """What a layer becomes: a TCN its blocks and the step that it returns, any other its own.

    Raises:
        SpecError: as `pieces_of`; or an option that has no counterpart.
    """
    if layer.kind != "TCN":
        yield from pieces_of(layer, shape)
        return
    if layer.module.partition(".")[0] not in PACKAGES:
        raise SpecError(f"layer {layer.name!r} is a TCN of {layer.module}, not keras-tcn's")
    net = _net(layer, shape[0])
    notes = {}
    if net.dropout:
        notes["dropout"] = "drops single values in training, where Keras drops whole channels"
    document = _tcn_document(net) if net.plain else _graph_document(net)
    beside = dict(BESIDE) if net.norm == NORMS["use_weight_norm"] else {}
    if net.skip:
        beside[rf".*/residual_block_{net.last}/matching_conv1D/.*"] = UNUSED
    yield Piece("", document, dict(_tensors(layer, net)), notes=notes, beside=beside)
    if not layer.config.get("return_sequences"):
        yield Piece("_step", {"kind": "pool", "mode": "last" if net.causal else "middle"})


def _net(layer: Layer, channels: int) -> Net:
    """The options, checked."""
    if layer.config.get("go_backwards"):
        raise SpecError(f"layer {layer.name!r} goes backwards (go_backwards), which is not read")
    dilations, filters = layer.config.get("dilations"), layer.config.get("nb_filters")
    if not isinstance(dilations, list) or not all(type(size) is int for size in dilations):
        raise SpecError(f"dilations of layer {layer.name!r} must be a list, but are {dilations!r}")
    each = filters if isinstance(filters, list) else [filters] * len(dilations)
    if len(each) != len(dilations) or not all(type(size) is int for size in each):
        raise SpecError(
            f"nb_filters of layer {layer.name!r} must be a number, or one for each of the "
            f"{len(dilations)} dilations, but are {filters!r}"
        )
    stacks = whole(layer, "nb_stacks")
    if stacks * len(dilations) > MOST_BLOCKS:
        raise SpecError(f"layer {layer.name!r} has more than {MOST_BLOCKS} blocks")
    norms = [norm for option, norm in NORMS.items() if layer.config.get(option)]
    if len(norms) > 1:
        raise SpecError(f"layer {layer.name!r} has {len(norms)} norms, but may have one")
    if (pads := padding(layer, 1)) == "valid":
        raise SpecError(f"padding of layer {layer.name!r} must be causal or same, but is 'valid'")
    return Net(
        widths=(channels, *each * stacks),
        dilations=tuple(dilations * stacks),
        kernel_size=whole(layer, "kernel_size"),
        causal=pads == "causal",
        skip=bool(layer.config.get("use_skip_connections")),
        dropout=number(layer, "dropout_rate", 0.0),
        norm=norms[0] if norms else None,
        activation={"kind": "activation", **named(layer, layer.config.get("activation"))},
    )


def _tcn_document(net: Net) -> dict[str, Any]:
    """As our `tcn`."""
    return {
        "kind": "tcn",
        "in_channels": net.widths[0],
        "channels": list(net.widths[1:]),
        "kernel_size": net.kernel_size,
        "dilations": list(net.dilations),
        "dropout": net.dropout,
        "causal": net.causal,
        "norm": net.norm,
        "activation": net.activation,
    }


def _graph_document(net: Net) -> dict[str, Any]:
    """As a graph: every block node by node."""
    nodes: dict[str, Any] = {}

    def node(name: str, layer: Mapping[str, Any], *inputs: str) -> str:
        nodes[name] = {"layer": dict(layer), "inputs": list(inputs)}
        return name

    before, outs = "input", []
    for level in range(len(net.dilations)):
        out = before
        for half in (1, 2):
            out = node(f"block{level}_conv{half}", _conv(net, level, half), out)
            if net.norm is not None and net.norm["kind"] != "weight_norm":
                norm = {**net.norm, "channels": net.widths[level + 1]}
                out = node(f"block{level}_norm{half}", norm, out)
            out = node(f"block{level}_activation{half}", net.activation, out)
            if net.dropout:
                dropout = {"kind": "dropout", "rate": net.dropout}
                out = node(f"block{level}_dropout{half}", dropout, out)
        if net.activation["name"] not in TWICE:
            out = node(f"block{level}_activation3", net.activation, out)
        outs.append(out)
        if net.skip and level == net.last:
            break
        if net.matches(level):
            before = node(f"block{level}_residual", _pointwise(net, level), before)
        before = node(f"block{level}_sum", {"kind": "merge", "mode": "add"}, before, out)
        before = node(f"block{level}_activation", net.activation, before)
    if net.skip and len(outs) > 1:
        node("skips", {"kind": "merge", "mode": "add"}, *outs)
    return {"kind": "graph", "in_channels": net.widths[0], "nodes": nodes}


def _conv(net: Net, level: int, half: int) -> dict[str, Any]:
    """The first or the second convolution of a block."""
    return {
        "kind": "conv1d",
        "in_channels": net.widths[level + half - 1],
        "out_channels": net.widths[level + 1],
        "kernel_size": net.kernel_size,
        "dilation": net.dilations[level],
        "padding": "causal" if net.causal else "same",
        "weight_norm": net.norm == NORMS["use_weight_norm"],
    }


def _pointwise(net: Net, level: int) -> dict[str, Any]:
    """The 1x1 convolution that matches widths."""
    sizes = {"in_channels": net.widths[level], "out_channels": net.widths[level + 1]}
    return {"kind": "conv1d", "kernel_size": 1, **sizes}


def _tensors(layer: Layer, net: Net) -> Iterator[tuple[str, Stored]]:
    """Every tensor of the blocks, by our names of the `tcn` or the graph."""
    for level in range(len(net.dilations)):
        group, block = f"residual_block_{level}", f"block{level}_"
        if net.plain:
            block = f"blocks.{level}."

        def at(
            slot: str,
            index: int,
            layout: str,
            inner: tuple[str, ...],
            within: str,
            root: str = group,
        ) -> Stored:
            groups = tuple(f"{root}/{below}" for below in inner)
            variable = Variable(slot, index, groups, (root, within), layer.names, layer.group)
            return Stored(variable, layout)

        for half in (0, 1):
            conv, own = f"{block}conv{half + 1}", f"conv1D_{half}"
            if net.norm == NORMS["use_weight_norm"]:
                group = f"layers/weight_normalization#{half}"
                yield f"{conv}.weight_g", at("g", 0, "O", (group,), own)
                yield f"{conv}.weight_v", at("kernel", 1, "KIO", (group,), own)
                yield f"{conv}.bias", at("bias", 0, "C", (f"{group}/layer",), own)
                continue
            yield f"{conv}.weight", at("kernel", 0, "KIO", (own,), own)
            yield f"{conv}.bias", at("bias", 1, "C", (own,), own)
            if net.norm is not None:
                listed, stem = NORM_GROUPS[net.norm["kind"]]
                groups = (f"{listed}/{stem}#{half}", f"{stem}#{half}")
                for index, (name, slot) in enumerate(NORM_VARIABLES[net.norm["kind"]]):
                    norm_variable = at(slot, index, "C", groups, f"norm_{half}")
                    yield f"{block}norm{half + 1}.{name}", norm_variable
        if net.matches(level):
            own = "matching_conv1D"
            yield f"{block}residual.weight", at("kernel", 0, "KIO", (own,), own)
            yield f"{block}residual.bias", at("bias", 1, "C", (own,), own)
