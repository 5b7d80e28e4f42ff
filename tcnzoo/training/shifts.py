"""Biases that a batch norm takes away again: their gradient in training is nought."""

from collections.abc import Iterator

from tcnzoo.specs import BatchNormSpec, GraphSpec, SequentialSpec, Spec

# Parts of a block that a batch norm of the same block follows.
PAIRS = (("conv", "norm"), ("dense", "norm"), ("conv1", "norm1"), ("conv2", "norm2"))
KERNELS = ("conv1d", "conv_transpose1d", "conv2d", "dense")


def lost_shifts(spec: Spec) -> frozenset[str]:
    """Names of the biases that feed a batch norm and nothing else.

    The mean of the batch takes such a bias away, so its gradient is nought. What a framework
    computes instead is rounding, and Adam scales the smallest gradient to steps of full size: the
    bias, and the running mean after it, would wander differently in every framework. A step
    therefore counts these gradients as the zeros that they are.
    """
    found = set()
    for path, part in spec.walk():
        for kernel in _kernels(part):
            name = ".".join(filter(None, (path, kernel, "bias")))
            found.add(name)
    return frozenset(found & spec.params().keys())


def _kernels(part: Spec) -> Iterator[str]:
    """Children of a block that a batch norm among its children follows at once."""
    children = part.children()
    if isinstance(part, SequentialSpec):
        names = list(children)
        for before, after in zip(names, names[1:], strict=False):
            if _cancels(children[before], children[after]):
                yield before
    elif isinstance(part, GraphSpec):
        yield from _nodes(part)
    else:
        for kernel, norm in PAIRS:
            if kernel in children and isinstance(children.get(norm), BatchNormSpec):
                yield kernel


def _nodes(graph: GraphSpec) -> Iterator[str]:
    """Nodes of a graph that only a batch norm reads."""
    readers: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for name, node in graph.nodes.items():
        for source in node.inputs:
            readers.setdefault(source, []).append(name)
    for name, node in graph.nodes.items():
        after = [graph.nodes[reader].layer for reader in readers[name]]
        if len(after) == 1 and _cancels(node.layer, after[0]):
            yield name


def _cancels(kernel: Spec, norm: Spec) -> bool:
    """Whether the second layer takes away the bias of the first."""
    return kernel.kind in KERNELS and isinstance(norm, BatchNormSpec)
