"""Mixtures with stick-breaking weights, and the model that has one: written, and refused."""

import math

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.inference.dirichlet import log_weights

from .builder import Value
from .emit import Place, emits


def _log_softmax(table: Array) -> Array:
    """Normalise each row of logarithms."""
    return table - np.logaddexp.reduce(table, axis=1, keepdims=True)


@emits("hdp")
def hdp(place: Place, x: Value) -> Value:
    """softmax over clusters of (log beta + evidence) / temperature, in float32."""
    if place.wide:
        raise place.refuse(
            "hdp sums over clusters and channels at once, which rank 4 cannot hold; end the model "
            "before it"
        )
    spec, graph = place.spec, place.graph
    held = {name: place.weights[place.full(name)].astype(np.float64) for name in spec.own_params()}
    values = place.cast(x, np.float32, graph.dtype)
    offset = log_weights(held["stick_logits"])
    if spec.components == "codes":
        table = graph.constant(_log_softmax(held["code_logits"]), np.float32)
        evidence = place.op("MatMul", table, values)
    else:
        variance = spec.variance_floor + np.exp(held["log_variances"])
        offset = offset - 0.5 * np.log(2.0 * math.pi * variance).sum(axis=1)
        wide = place.op("Unsqueeze", values, graph.integers(1))
        gap = place.op("Sub", wide, graph.constant(held["means"][:, :, None], np.float32))
        squares = place.op("Mul", gap, gap)
        scale = graph.constant(-0.5 / variance[:, :, None], np.float32)
        scaled = place.op("Mul", squares, scale)
        evidence = place.op("ReduceSum", scaled, graph.integers(2), keepdims=0)
    score = place.op("Add", evidence, graph.constant(offset[:, None], np.float32))
    cooled = graph.constant(np.exp(-held["log_temperature"]), np.float32)
    name = place.op("Softmax", place.op("Mul", score, cooled), axis=1)
    return Value(place.cast(name, graph.dtype, np.float32), (spec.clusters, x.time), x.may_be_empty)


@emits("vq_hdp_hsmm")
def vq_hdp_hsmm(place: Place, x: Value) -> Value:
    """Refuse: segments are found by loops that look at the whole signal."""
    raise place.refuse(
        "a vq_hdp_hsmm finds segments in the whole signal, which is not written as a graph; export "
        "the part that scores codes (tcnzoo.runtimes.code_scores) and run the rest on the host"
    )
