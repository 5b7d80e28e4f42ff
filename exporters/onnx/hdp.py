"""Mixtures with stick-breaking weights."""

import math

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.inference.dirichlet import log_weights
from tcnzoo.specs import HdpSpec

from .block import BlockWriter, writes
from .builder import Value


def _log_softmax(table: Array) -> Array:
    """Normalise each row of logarithms."""
    return table - np.logaddexp.reduce(table, axis=1, keepdims=True)


@writes("hdp")
def hdp(block: BlockWriter[HdpSpec], x: Value) -> Value:
    """softmax over clusters of (log beta + evidence) / temperature, in float32."""
    if block.wide:
        raise block.refuse(
            "hdp sums over clusters and channels at once, which rank 4 cannot hold; end the model "
            "before it"
        )
    spec, graph = block.spec, block.graph
    own = {name: block.weights[block.full(name)].astype(np.float64) for name in spec.own_params()}
    values = block.cast(x, np.float32, graph.dtype)
    offset = log_weights(own["stick_logits"])
    if spec.components == "codes":
        table = graph.constant(_log_softmax(own["code_logits"]), np.float32)
        evidence = block.op("MatMul", table, values)
    else:
        variance = spec.variance_floor + np.exp(own["log_variances"])
        offset = offset - 0.5 * np.log(2.0 * math.pi * variance).sum(axis=1)
        wide = block.op("Unsqueeze", values, graph.integers(1))
        gap = block.op("Sub", wide, graph.constant(own["means"][:, :, None], np.float32))
        squares = block.op("Mul", gap, gap)
        scale = graph.constant(-0.5 / variance[:, :, None], np.float32)
        scaled = block.op("Mul", squares, scale)
        evidence = block.op("ReduceSum", scaled, graph.integers(2), keepdims=0)
    score = block.op("Add", evidence, graph.constant(offset[:, None], np.float32))
    cooled = graph.constant(np.exp(-own["log_temperature"]), np.float32)
    name = block.op("Softmax", block.op("Mul", score, cooled), axis=1)
    return Value(block.cast(name, graph.dtype, np.float32), (spec.clusters, x.time), x.may_be_empty)
