"""Mamba-2 by its recurrence, a Scan over time, and the bidirectional layers built of it."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .builder import Graph, Value
from .emit import Place, emits

# The state is summed over all of the signal, and dt is exponentiated: float16 is too short for it.
EXACT = np.dtype(np.float32)


class Heads(NamedTuple):
    """How the channels of the state space are cut up, in this order."""

    groups: int
    share: int
    width: int


def _heads(place: Place) -> Heads:
    """Groups, heads of each, and channels of a head."""
    spec = place.spec
    return Heads(spec.groups, spec.heads // spec.groups, spec.head_dim)


@emits("mamba2")
def mamba2(place: Place, x: Value) -> Value:
    """(batch, channels, time) -> the same shape."""
    if place.wide:
        raise place.refuse(
            "mamba2 carries a state along time, which rank 4 cannot hold; use rank 3"
        )
    spec = place.spec
    through, beside, z, xbc, dt = _sections(place, place.apply("in_proj", x))
    xbc = place.apply("conv1d", xbc)
    y = _scanned(place, replace(xbc, name=_silu(place, xbc)), dt)
    dtype, gate = place.graph.dtype, _silu(place, z)
    if spec.rms_norm and spec.norm_before_gate:
        y = place.op("Mul", place.apply("norm", replace(z, name=y)), gate)
    else:
        y = place.op("Mul", y, place.cast(gate, EXACT, dtype))
        named = replace(z, name=y)
        y = place.apply("norm", named).name if spec.rms_norm else place.cast(y, dtype, EXACT)
    if through.channels:
        y = place.op("Concat", place.op("Mul", _silu(place, through), beside), y, axis=1)
    return place.apply("out_proj", replace(x, name=y, shape=(spec.inner, x.time)))


def _sections(place: Place, x: Value) -> list[Value]:
    """What `in_proj` gives, apart; sections without channels have no name."""
    widths = place.spec.sections
    filled = [width for width in widths if width]
    inputs = [x.name, place.graph.integers(*filled)]
    names = iter(place.graph.add("Split", inputs, place.path, outputs=len(filled), axis=1))
    return [
        replace(x, name=next(names) if width else "", shape=(width, x.time)) for width in widths
    ]


def _silu(place: Place, x: Value) -> str:
    """X * sigmoid(x)."""
    return place.op("Mul", x, place.op("Sigmoid", x))


def _scanned(place: Place, xbc: Value, dt: Value) -> str:
    """The state space on x, B and C (batch, convolved, time) and dt (batch, heads, time).

    Its outputs stay in float32 until they are normalised.
    """
    spec, graph, heads = place.spec, place.graph, _heads(place)
    inside = spec.groups * spec.d_state
    sizes = graph.integers(spec.width, inside, inside)
    parts = [_by_step(place, xbc, place.cast(xbc, EXACT, graph.dtype)), sizes]
    x, b, c = graph.add("Split", parts, place.path, outputs=3, axis=2)
    steps = _by_step(place, dt, _settled_dt(place, dt))
    x = _shaped(place, x, *heads, 1)
    steps = _shaped(place, steps, heads.groups, heads.share, 1, 1)
    rate = place.op("Neg", place.op("Exp", _exact(place, "A_log", heads.groups, heads.share, 1, 1)))
    state, y = graph.add(
        "Scan",
        [
            _state(place, dt),
            place.op("Exp", place.op("Mul", steps, rate)),
            place.op("Mul", steps, x),
            _shaped(place, b, heads.groups, 1, 1, spec.d_state),
            _shaped(place, c, heads.groups, 1, spec.d_state, 1),
        ],
        place.path,
        outputs=2,
        body=_step(place),
        num_scan_inputs=4,
        scan_input_axes=[1] * 4,
        scan_output_axes=[1],
    )
    if place.streaming:
        last = place.op("Reshape", state, graph.integers(0, spec.heads, spec.head_dim, -1))
        place.leave("ssm", last)
    skip = _exact(place, "D", heads.groups, heads.share, -1, 1)
    y = _shaped(place, place.op("Add", y, place.op("Mul", skip, x)), spec.width)
    y = place.op("Transpose", y, perm=[0, 2, 1])
    return place.cut(y, 0, place.length(dt)) if dt.may_be_empty else y


def _step(place: Place) -> Graph:
    """The body of the Scan: S = decay S + added B, y = S C, for each head of each group."""
    body, path, d_state = Graph(EXACT), place.full("step"), place.spec.d_state
    groups, share, width = _heads(place)
    shapes = {
        "state": (groups, share, width, d_state),
        "decay": (groups, share, 1, 1),
        "added": (groups, share, width, 1),
        "b": (groups, 1, 1, d_state),
        "c": (groups, 1, d_state, 1),
    }
    state, decay, added, b, c = (
        body.input(f"/{path}/{name}", ("batch", *shape)) for name, shape in shapes.items()
    )
    (kept,) = body.add("Mul", [decay, state], path)
    (new,) = body.add("Mul", [added, b], path)
    (after,) = body.add("Add", [kept, new], path)
    (y,) = body.add("MatMul", [after, c], path)
    body.output(after, f"/{path}/next", ("batch", *shapes["state"]))
    body.output(y, f"/{path}/y", ("batch", *shapes["added"]))
    return body


def _settled_dt(place: Place, dt: Value) -> str:
    """clamp(softplus(dt + dt_bias), *dt_limit)."""
    low, high = place.spec.dt_limit
    raw = place.cast(dt, EXACT, place.graph.dtype)
    found = place.op("Softplus", place.op("Add", raw, _exact(place, "dt_bias", -1, 1)))
    if (low, high) == (0.0, None):
        return found
    bounds = [place.graph.constant(one, EXACT) for one in (low, high) if one is not None]
    return place.op("Clip", found, *bounds)


def _by_step(place: Place, x: Value, name: str) -> str:
    """A signal as (batch, time, channels).

    onnxruntime crashes in a Scan without steps, so where there may be none a step of zeros follows
    the others: with dt = 0 it leaves the state as it is.
    """
    ready = place.lengthened(name, 0, 1) if x.may_be_empty else name
    return place.op("Transpose", ready, perm=[0, 2, 1])


def _shaped(place: Place, name: str, *axes: int) -> str:
    """(batch, time, ...) -> (batch, time, *axes)."""
    return place.op("Reshape", name, place.graph.integers(0, 0, *axes))


def _exact(place: Place, name: str, *axes: int) -> str:
    """A weight of one axis, in float32 and another shape."""
    vector = place.cast(place.vector(name), EXACT, place.graph.dtype)
    return place.op("Reshape", vector, place.graph.integers(*axes))


def _state(place: Place, x: Value) -> str:
    """The state before the first step: zeros, or that of the stream."""
    graph, axes = place.graph, (*_heads(place), place.spec.d_state)
    if place.streaming:
        return place.op("Reshape", place.read("ssm"), graph.integers(0, *axes))
    batch = place.op("Shape", x, start=0, end=1)
    shape = place.op("Concat", batch, graph.integers(*axes), axis=0)
    return place.op("Expand", graph.constant(0.0, EXACT), shape)


@emits("bi_mamba2_layer")
def bi_mamba2_layer(place: Place, x: Value) -> Value:
    """norm(x + projection([forward, backward]))."""
    backward = "forward_mamba" if place.spec.shared else "backward_mamba"
    ahead = place.apply("forward_mamba", x)
    behind = place.apply(backward, replace(x, name=_reversed(place, x)))
    both = place.op("Concat", ahead, _reversed(place, behind), axis=1)
    y = place.apply("projection", replace(x, name=both, shape=(2 * x.channels, x.time)))
    return place.apply("norm", replace(x, name=place.op("Add", x, y)))


def _reversed(place: Place, x: Value) -> str:
    """A signal from its last step to its first."""
    ends = [place.graph.integers(end) for end in (-1, np.iinfo(np.int64).min)]
    axis, step = place.graph.integers(place.time_axis), place.graph.integers(-1)
    return place.op("Slice", x, *ends, axis, step)


@emits("bi_mamba2")
def bi_mamba2(place: Place, x: Value) -> Value:
    """Layers, one after the other."""
    for name in place.spec.children():
        x = place.apply(name, x)
    return x
