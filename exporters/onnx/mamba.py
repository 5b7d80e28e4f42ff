"""Mamba-2 by its recurrence, a Scan over time, and the bidirectional layers built of it."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tcnzoo.specs import BiMamba2LayerSpec, BiMamba2Spec, Mamba2Spec

from .block import BlockWriter, writes
from .builder import Graph, Value

# The state is summed over all of the signal, and dt is exponentiated: float16 is too short for it.
EXACT = np.dtype(np.float32)


class Heads(NamedTuple):
    """How the channels of the state space are cut up, in this order."""

    groups: int
    share: int
    width: int


def _heads(block: BlockWriter[Mamba2Spec]) -> Heads:
    """Groups, heads of each, and channels of a head."""
    spec = block.spec
    return Heads(spec.groups, spec.heads // spec.groups, spec.head_dim)


@writes("mamba2")
def mamba2(block: BlockWriter[Mamba2Spec], x: Value) -> Value:
    """(batch, channels, time) -> the same shape."""
    if block.wide:
        raise block.refuse(
            "mamba2 carries a state along time, which rank 4 cannot hold; use rank 3"
        )
    spec = block.spec
    through, beside, z, xbc, dt = _sections(block, block.apply("in_proj", x))
    xbc = block.apply("conv1d", xbc)
    y = _scanned(block, replace(xbc, name=_silu(block, xbc)), dt)
    dtype, gate = block.graph.dtype, _silu(block, z)
    if spec.rms_norm and spec.norm_before_gate:
        y = block.op("Mul", block.apply("norm", replace(z, name=y)), gate)
    else:
        y = block.op("Mul", y, block.cast(gate, EXACT, dtype))
        named = replace(z, name=y)
        y = block.apply("norm", named).name if spec.rms_norm else block.cast(y, dtype, EXACT)
    if through.channels:
        y = block.op("Concat", block.op("Mul", _silu(block, through), beside), y, axis=1)
    return block.apply("out_proj", replace(x, name=y, shape=(spec.inner, x.time)))


def _sections(block: BlockWriter[Mamba2Spec], x: Value) -> list[Value]:
    """What `in_proj` gives, apart; sections without channels have no name."""
    widths = block.spec.sections
    filled = [width for width in widths if width]
    inputs = [x.name, block.graph.integers(*filled)]
    names = iter(block.graph.add("Split", inputs, block.path, outputs=len(filled), axis=1))
    return [
        replace(x, name=next(names) if width else "", shape=(width, x.time)) for width in widths
    ]


def _silu(block: BlockWriter[Any], x: Value) -> str:
    """X * sigmoid(x)."""
    return block.op("Mul", x, block.op("Sigmoid", x))


def _scanned(block: BlockWriter[Mamba2Spec], xbc: Value, dt: Value) -> str:
    """The state space on x, B and C (batch, convolved, time) and dt (batch, heads, time).

    Its outputs stay in float32 until they are normalised.
    """
    spec, graph, heads = block.spec, block.graph, _heads(block)
    inside = spec.groups * spec.d_state
    sizes = graph.integers(spec.width, inside, inside)
    parts = [_by_step(block, xbc, block.cast(xbc, EXACT, graph.dtype)), sizes]
    x, b, c = graph.add("Split", parts, block.path, outputs=3, axis=2)
    steps = _by_step(block, dt, _clamped_dt(block, dt))
    x = _shaped(block, x, *heads, 1)
    steps = _shaped(block, steps, heads.groups, heads.share, 1, 1)
    rate = block.op("Neg", block.op("Exp", _exact(block, "A_log", heads.groups, heads.share, 1, 1)))
    state, y = graph.add(
        "Scan",
        [
            _state(block, dt),
            block.op("Exp", block.op("Mul", steps, rate)),
            block.op("Mul", steps, x),
            _shaped(block, b, heads.groups, 1, 1, spec.d_state),
            _shaped(block, c, heads.groups, 1, spec.d_state, 1),
        ],
        block.path,
        outputs=2,
        body=_step(block),
        num_scan_inputs=4,
        scan_input_axes=[1] * 4,
        scan_output_axes=[1],
    )
    if block.streaming:
        last = block.op("Reshape", state, graph.integers(0, spec.heads, spec.head_dim, -1))
        block.leave("ssm", last)
    skip = _exact(block, "D", heads.groups, heads.share, -1, 1)
    y = _shaped(block, block.op("Add", y, block.op("Mul", skip, x)), spec.width)
    y = block.op("Transpose", y, perm=[0, 2, 1])
    return block.cut(y, 0, block.length(dt)) if dt.may_be_empty else y


def _step(block: BlockWriter[Mamba2Spec]) -> Graph:
    """The body of the Scan: S = decay S + added B, y = S C, for each head of each group."""
    body, path, d_state = Graph(EXACT), block.full("step"), block.spec.d_state
    groups, share, width = _heads(block)
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


def _clamped_dt(block: BlockWriter[Mamba2Spec], dt: Value) -> str:
    """clamp(softplus(dt + dt_bias), *dt_limit)."""
    low, high = block.spec.dt_limit
    raw = block.cast(dt, EXACT, block.graph.dtype)
    softplus = block.op("Softplus", block.op("Add", raw, _exact(block, "dt_bias", -1, 1)))
    if (low, high) == (0.0, None):
        return softplus
    bounds = [block.graph.constant(bound, EXACT) for bound in (low, high) if bound is not None]
    return block.op("Clip", softplus, *bounds)


def _by_step(block: BlockWriter[Any], x: Value, name: str) -> str:
    """A signal as (batch, time, channels).

    onnxruntime crashes in a Scan without steps, so where there may be none a step of zeros follows
    the others: with dt = 0 it leaves the state as it is.
    """
    ready = block.lengthened(name, 0, 1) if x.may_be_empty else name
    return block.op("Transpose", ready, perm=[0, 2, 1])


def _shaped(block: BlockWriter[Any], name: str, *axes: int) -> str:
    """(batch, time, ...) -> (batch, time, *axes)."""
    return block.op("Reshape", name, block.graph.integers(0, 0, *axes))


def _exact(block: BlockWriter[Any], name: str, *axes: int) -> str:
    """A weight of one axis, in float32 and another shape."""
    vector = block.cast(block.vector(name), EXACT, block.graph.dtype)
    return block.op("Reshape", vector, block.graph.integers(*axes))


def _state(block: BlockWriter[Mamba2Spec], x: Value) -> str:
    """The state before the first step: zeros, or that of the stream."""
    graph, axes = block.graph, (*_heads(block), block.spec.d_state)
    if block.streaming:
        return block.op("Reshape", block.read("ssm"), graph.integers(0, *axes))
    batch = block.op("Shape", x, start=0, end=1)
    shape = block.op("Concat", batch, graph.integers(*axes), axis=0)
    return block.op("Expand", graph.constant(0.0, EXACT), shape)


@writes("bi_mamba2_layer")
def bi_mamba2_layer(block: BlockWriter[BiMamba2LayerSpec], x: Value) -> Value:
    """norm(x + projection([forward, backward]))."""
    backward = "forward_mamba" if block.spec.shared else "backward_mamba"
    ahead = block.apply("forward_mamba", x)
    behind = block.apply(backward, replace(x, name=_reversed(block, x)))
    both = block.op("Concat", ahead, _reversed(block, behind), axis=1)
    y = block.apply("projection", replace(x, name=both, shape=(2 * x.channels, x.time)))
    return block.apply("norm", replace(x, name=block.op("Add", x, y)))


def _reversed(block: BlockWriter[Any], x: Value) -> str:
    """A signal from its last step to its first."""
    ends = [block.graph.integers(end) for end in (-1, np.iinfo(np.int64).min)]
    axis, step = block.graph.integers(block.time_axis), block.graph.integers(-1)
    return block.op("Slice", x, *ends, axis, step)


@writes("bi_mamba2")
def bi_mamba2(block: BlockWriter[BiMamba2Spec], x: Value) -> Value:
    """Layers, one after the other."""
    for name in block.spec.children():
        x = block.apply(name, x)
    return x
