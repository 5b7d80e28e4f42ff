"""What windows over a stream share: the context before a chunk, and which outputs are due."""

from .builder import Value
from .emit import Place


def continued(place: Place, x: Value, stride: int) -> tuple[str, str | None]:
    """Put the context before a chunk and drop what comes before the first output.

    Operators refuse a signal that is too short for one output, so steps are added at the end where
    none may be due; `finished` drops what comes of them.

    Returns:
        (signal, how many outputs are due; None where the operator gives just those).
    """
    table = place.spec.own_state()
    joined = x.name
    if "context" in table:
        context = place.read("context")
        if "started" in table:
            context = _held_back(place, x, context)
        joined = place.join(context, x)
        place.leave("context", place.cut(joined, -place.spec.reach))
    if "skip" not in table:
        if not x.may_be_empty:
            return joined, None
        return place.lengthened(joined, 0, 1), place.length(x)
    skip, length, step = place.counter("skip"), place.length(x), place.graph.integers(stride)
    missing = place.op("Sub", place.op("Add", length, place.graph.integers(stride - 1)), skip)
    count = place.op("Max", place.op("Div", missing, step), place.graph.integers(0))
    after = place.op("Sub", place.op("Add", skip, place.op("Mul", count, step)), length)
    place.leave_counter("skip", after)
    most = max(table["skip"].start, stride - 1)
    enough = place.lengthened(joined, 0, most + 1)
    return place.cut(enough, skip), count


def finished(place: Place, x: Value, name: str, count: str | None, channels: int) -> Value:
    """The outputs that are due, of a chunk x."""
    if count is None:
        return Value(name, (channels, x.time))
    return Value(place.cut(name, 0, count), (channels, None), may_be_empty=True)


def _held_back(place: Place, x: Value, context: str) -> str:
    """The context; before the first chunk, its first step repeated.

    Where no step has come yet that is the zero put after none, and the context is zero as well.
    """
    graph = place.graph
    started = place.counter("started")
    first = place.lengthened(x, 0, 1) if x.may_be_empty else x.name
    begins = place.op("Equal", started, graph.integers(0))
    arrived = place.op("Min", place.length(x), graph.integers(1))
    place.leave_counter("started", place.op("Max", started, arrived))
    return place.op("Where", begins, place.cut(first, 0, 1), context)
