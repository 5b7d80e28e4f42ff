"""Mamba-2."""

import math
from collections.abc import Sequence

import numpy as np

from tcnzoo.specs import ActivationSpec, Mamba2Spec
from tcnzoo.streams.lowering.builder import Builder, join, lowers, rounded
from tcnzoo.streams.lowering.graph import merged
from tcnzoo.streams.program import Activate, Scan, Select, Signal

SILU = ActivationSpec(name="silu")


@lowers("mamba2")
def mamba2(
    build: Builder, spec: Mamba2Spec, path: str, x: Signal, embeddings: Sequence[Signal]
) -> Signal:
    """Projection, convolution, recurrence, gate and norm, projection."""
    parts, sections = spec.children(), spec.sizes.sections
    projected = build.maybe(parts, "in_proj", path, x)
    starts = np.cumsum([0, *sections[:-1]])

    def section(place: int) -> Signal:
        return build.emit(Select, projected, sections[place], first=int(starts[place]))

    z, xbc, dt = section(2), section(3), section(4)
    y = _scan(build, spec, path, xbc, dt)
    gate = build.emit(Activate, z, z.channels, activation=SILU)
    if spec.norm_before_gate:
        y = merged(build, "multiply", [build.maybe(parts, "norm", path, y), gate])
    else:
        y = build.maybe(parts, "norm", path, merged(build, "multiply", [y, gate]))
    if sections[0]:
        opened = build.emit(Activate, section(0), sections[0], activation=SILU)
        beside = merged(build, "multiply", [opened, section(1)])
        y = merged(build, "concat", [beside, y])
    return build.maybe(parts, "out_proj", path, y)


def _scan(build: Builder, spec: Mamba2Spec, path: str, xbc: Signal, dt: Signal) -> Signal:
    """The convolution of x, B and C, and the recurrence."""
    sizes, (low, high) = spec.sizes, spec.dt_limit
    xbc = build.maybe(spec.children(), "conv1d", path, xbc)
    xbc = build.emit(Activate, xbc, xbc.channels, activation=SILU)
    skip = build.array(path, "D")
    return build.emit(
        Scan,
        xbc,
        sizes.width,
        dt=dt,
        dt_bias=rounded(build.array(path, "dt_bias")),
        decay=rounded(-np.exp(build.array(path, "A_log"))),
        skip=rounded(np.repeat(skip, sizes.width // len(skip))),
        limit=(low, math.inf if high is None else high),
        heads=sizes.heads,
        head_dim=spec.head_dim,
        d_state=spec.d_state,
        groups=spec.groups,
        state=join(path, "ssm"),
    )
