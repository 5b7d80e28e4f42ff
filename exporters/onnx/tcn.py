"""The temporal block and the stack of them."""

from dataclasses import replace

from .builder import Value
from .emit import Emitted, Place, emit, emits


@emits("temporal_block")
def temporal_block(place: Place, x: Value) -> tuple[Value, Value]:
    """(batch, in, time) -> (activation(residual + out), out), both (batch, channels, time)."""
    out = place.optional("norm1", place.apply("conv1", x))
    if place.embeddings:
        out = _condition(place, out)
    out = place.optional("dropout", place.apply("activation1", out))
    out = place.optional("norm2", place.apply("conv2", out))
    out = place.optional("dropout", place.apply("activation2", out))
    out = place.optional("se", out)
    total = replace(out, name=place.op("Add", place.optional("residual", x), out))
    return place.apply("activation", total), out


def _condition(place: Place, x: Value) -> Value:
    """Add the projected embeddings, or concatenate and project back."""
    rows = [_as_signal(place, one) for one in place.embeddings]
    if len({row.time for row in rows}) > 1:
        rows = [_over_all_steps(place, row, x) for row in rows]
    width = sum(row.channels for row in rows)
    joined = rows[0].name if len(rows) == 1 else place.op("Concat", *rows, axis=1)
    together = replace(rows[0], name=joined, shape=(width, rows[0].time))
    projected = place.apply("embedding1", together)
    if place.spec.embedding_mode == "add":
        return replace(x, name=place.op("Add", x, projected))
    projected = _over_all_steps(place, projected, x)
    both = place.op("Concat", x, projected, axis=1)
    return place.apply("embedding2", replace(x, name=both, shape=(2 * x.channels, x.time)))


def _as_signal(place: Place, row: Value) -> Value:
    """An embedding for all steps as a signal of one."""
    if row.is_signal:
        return row
    name = place.op("Unsqueeze", row, place.graph.integers(2))
    return Value(name, (row.channels, 1))


def _over_all_steps(place: Place, row: Value, x: Value) -> Value:
    """An embedding of one step, repeated for every step of x."""
    if row.time != 1:
        return row
    shape = place.op("Concat", place.graph.integers(1, 1), place.length(x), axis=0)
    return replace(x, name=place.op("Expand", row, shape), shape=(row.channels, x.time))


@emits("tcn")
def tcn(place: Place, x: Value) -> Value:
    """(batch, in, time) -> (batch, out_channels, time)."""
    skips: Value | None = None
    last = len(place.spec.channels) - 1
    for level in range(last + 1):
        x, out = _pair(emit(place.part(f"blocks.{level}"), x))
        if place.spec.skip_connections and level < last:
            out = place.optional(f"skips.{level}", out)
            skips = out if skips is None else replace(out, name=place.op("Add", skips, out))
    if place.spec.skip_connections:
        total = x if skips is None else replace(x, name=place.op("Add", skips, x))
        x = place.apply("activation", total)
    return place.optional("output_activation", place.optional("output", x))


def _pair(y: Emitted) -> tuple[Value, Value]:
    """The two outputs of a temporal block."""
    assert isinstance(y, tuple)
    return y
