"""LSTM and GRU by ONNX's own operators, one node for each layer."""

from dataclasses import replace
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.specs import GruSpec, LstmSpec
from tcnzoo.specs.recurrent import RecurrentSpec

from .block import BlockWriter, writes
from .builder import Value

# Where each gate of ONNX (i, o, f, c and z, r, h) stands among torch's (i, f, g, o and r, z, n).
ORDERS = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}


@writes("lstm")
def lstm(block: BlockWriter[LstmSpec], x: Value) -> Value:
    """c = f c + i g, h = o tanh(c)."""
    return _recurrent(block, x, "LSTM")


@writes("gru")
def gru(block: BlockWriter[GruSpec], x: Value) -> Value:
    """h = (1 - z) n + z h, the reset after the product."""
    return _recurrent(block, x, "GRU", linear_before_reset=1)


def _recurrent(block: BlockWriter[Any], x: Value, kind: str, **attributes: int) -> Value:
    """Layers one after the other, in float32: other types have no kernel in ONNX Runtime."""
    if block.wide:
        raise block.refuse(f"{kind} carries a state along time, which rank 4 cannot hold")
    spec, graph = block.spec, block.graph
    # (batch, channels, time) -> (time, batch, channels).
    rows = block.op("Transpose", block.cast(x, np.float32, graph.dtype), perm=[2, 0, 1])
    layered = [_layered(block, name) if block.streaming else None for name in spec.states]
    after: list[list[str]] = [[] for _ in spec.states]
    for layer in range(spec.layers):
        inputs = [rows, *_weights(block, layer), ""]
        for entry in layered:
            inputs.append("" if entry is None else _of_layer(block, entry, layer))
        while not inputs[-1]:
            inputs.pop()
        outputs = graph.add(
            kind, inputs, block.path, outputs=1 + len(spec.states), hidden_size=spec.hidden,
            direction="bidirectional" if spec.bidirectional else "forward", **attributes,
        )  # fmt: skip
        for states, state in zip(after, outputs[1:], strict=True):
            states.append(state)
        # (time, directions, batch, hidden) -> (time, batch, directions * hidden).
        apart = block.op("Transpose", outputs[0], perm=[0, 2, 1, 3])
        rows = block.op("Reshape", apart, graph.integers(0, 0, spec.width))
    if block.streaming:
        for name, states in zip(spec.states, after, strict=True):
            joined = block.op("Concat", *states, axis=0) if len(states) > 1 else states[0]
            last = block.op("Transpose", joined, perm=[1, 0, 2])
            block.leave(name, block.cast(last, graph.dtype, np.float32))
    y = block.cast(block.op("Transpose", rows, perm=[1, 2, 0]), graph.dtype, np.float32)
    return replace(x, name=y, shape=(spec.width, *x.shape[1:]))


def _weights(block: BlockWriter[Any], layer: int) -> list[str]:
    """W, R and B of a layer, (directions, gates * hidden, ...)."""
    spec: RecurrentSpec = block.spec
    stacked: dict[str, list[Array]] = {"weight_ih": [], "weight_hh": [], "bias": []}
    for way in spec.directions:
        for name in ("weight_ih", "weight_hh"):
            stacked[name].append(_turned(block, f"{name}_l{layer}{way}"))
        if spec.bias:
            both = [_turned(block, f"bias_{one}_l{layer}{way}") for one in ("ih", "hh")]
            stacked["bias"].append(np.concatenate(both))
    return [
        block.graph.constant(np.stack(arrays), np.float32) if arrays else ""
        for arrays in stacked.values()
    ]


def _turned(block: BlockWriter[Any], name: str) -> Array:
    """A weight with its gates in the order of ONNX."""
    gates = np.split(block.weights[block.full(name)], block.spec.gates)
    return np.concatenate([gates[gate] for gate in ORDERS[block.spec.kind]])


def _layered(block: BlockWriter[Any], name: str) -> str:
    """An entry of the state, (layers, batch, hidden)."""
    entry = block.cast(block.read(name), np.float32, block.graph.dtype)
    return block.op("Transpose", entry, perm=[1, 0, 2])


def _of_layer(block: BlockWriter[Any], entry: str, layer: int) -> str:
    """What one layer begins with, (1, batch, hidden)."""
    integers = block.graph.integers
    return block.op("Slice", entry, integers(layer), integers(layer + 1), integers(0))
