"""Named nodes that each read from earlier ones."""

from collections.abc import Sequence

from tcnzoo.specs import GraphSpec, MergeSpec
from tcnzoo.specs.side_inputs import Routes
from tcnzoo.streams.lowering.builder import Builder, join, lowers
from tcnzoo.streams.program import Merge, Signal


def merged(build: Builder, mode: str, signals: Sequence[Signal]) -> Signal:
    """Several signals made one."""
    side_by_side = sum(signal.channels for signal in signals)
    channels = side_by_side if mode == "concat" else signals[0].channels
    return build.emit(Merge, signals[0], channels, others=tuple(signals[1:]), mode=mode)


@lowers("graph")
def graph(
    build: Builder, spec: GraphSpec, path: str, x: Signal, embeddings: Sequence[Signal]
) -> Signal:
    """Every node on the outputs that it reads; the last one is the output."""
    outputs, routes = {"input": x}, Routes.of(spec.children())
    for name, node in spec.nodes.items():
        sources = [outputs[source] for source in node.inputs]
        if isinstance(node.layer, MergeSpec):
            outputs[name] = merged(build, node.layer.mode, sources)
        else:
            beside = routes.taken(name, embeddings)
            outputs[name] = build.part(node.layer, join(path, name), sources[0], beside)
    return outputs[name]
