"""What windows over a stream share: the context before a chunk, and which outputs are due."""

from typing import Any

from tcnzoo.specs import Conv1dSpec, WindowPoolSpec

from .block import BlockWriter
from .builder import Value


def continued(
    block: BlockWriter[Conv1dSpec | WindowPoolSpec], x: Value, stride: int
) -> tuple[str, str | None]:
    """Put the context before a chunk and drop what comes before the first output.

    Operators refuse a signal that is too short for one output, so steps are added at the end where
    none may be due; `finished` drops what comes of them.

    Returns:
        (signal, how many outputs are due; None where the operator gives just those).
    """
    table = block.spec.own_state()
    joined = x.name
    if "context" in table:
        context = block.read("context")
        if "started" in table:
            context = _held_back(block, x, context)
        joined = block.join(context, x)
        block.leave("context", block.cut(joined, -block.spec.reach))
    if "skip" not in table:
        if not x.may_be_empty:
            return joined, None
        return block.lengthened(joined, 0, 1), block.length(x)
    skip, length, step = block.counter("skip"), block.length(x), block.graph.integers(stride)
    missing = block.op("Sub", block.op("Add", length, block.graph.integers(stride - 1)), skip)
    count = block.op("Max", block.op("Div", missing, step), block.graph.integers(0))
    after = block.op("Sub", block.op("Add", skip, block.op("Mul", count, step)), length)
    block.leave_counter("skip", after)
    most = max(table["skip"].start, stride - 1)
    enough = block.lengthened(joined, 0, most + 1)
    return block.cut(enough, skip), count


def finished(
    block: BlockWriter[Any], x: Value, name: str, count: str | None, channels: int
) -> Value:
    """The outputs that are due, of a chunk x."""
    if count is None:
        return Value(name, (channels, x.time))
    return Value(block.cut(name, 0, count), (channels, None), may_be_empty=True)


def _held_back(block: BlockWriter[Any], x: Value, context: str) -> str:
    """The context; before the first chunk, its first step repeated.

    Where no step has come yet that is the zero put after none, and the context is zero as well.
    """
    graph = block.graph
    started = block.counter("started")
    first = block.lengthened(x, 0, 1) if x.may_be_empty else x.name
    begins = block.op("Equal", started, graph.integers(0))
    arrived = block.op("Min", block.length(x), graph.integers(1))
    block.leave_counter("started", block.op("Max", started, arrived))
    return block.op("Where", begins, block.cut(first, 0, 1), context)
