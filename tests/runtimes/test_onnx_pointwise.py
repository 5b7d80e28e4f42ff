"""Formulas of pointwise blocks as nodes of an ONNX graph, against the same formula in numpy."""

from types import SimpleNamespace

import numpy as np
import pytest

from tcnzoo.exporters.onnx.block import WRITERS, BlockWriter
from tcnzoo.exporters.onnx.builder import Graph, Value
from tcnzoo.exporters.onnx.model import to_proto
from tcnzoo.exporters.onnx.pointwise import write_formula
from tcnzoo.models.pointwise import POINTWISE, SIGMOID

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

WEIGHTS = {"scale": np.array([0.5, -2.0, 3.0], np.float32)}
SPEC = SimpleNamespace(
    kind="made-up", own_params=lambda: {name: array for name, array in WEIGHTS.items()}
)


def formula(xp, x, spec, weights):
    """What uses every function and every operator: of two halves, three channels each."""
    values, gates = xp.halves(x)
    scaled = xp.per_channel(weights["scale"], values) * values
    return -(1.0 - 2.0 * scaled) / (3.0 + xp.activate(gates, SIGMOID)) + 1.0 / (gates + 9.0) - 0.5


class InNumpy:
    """The array functions in numpy."""

    def activate(self, x, spec):
        return 1.0 / (1.0 + np.exp(-x))

    def halves(self, x):
        return np.split(x, 2, axis=1)

    def per_channel(self, vector, x):
        return vector.reshape(-1, *[1] * (x.ndim - 2))


@pytest.mark.parametrize("rank", [3, 4])
@pytest.mark.parametrize("axes", [(), (7,), (2, 7)], ids=["vector", "signal", "devices"])
def test_formula_is_the_same_in_a_graph(axes, rank):
    graph = Graph(np.dtype(np.float32), rank)
    wide = [1] if rank == 4 and len(axes) == 1 else []
    graph.input("x", (2, 6, *wide, *axes))
    x = Value("x", (6, *axes))
    y = write_formula(
        formula, BlockWriter(graph, SPEC, "block", {"block.scale": WEIGHTS["scale"]}), x
    )
    assert y.shape == (3, *axes)
    graph.output(y.name, "y", (2, 3, *wide, *axes))
    assert graph.initializers["block.scale"].shape == (3,)  # the neutral layout
    session = onnxruntime.InferenceSession(to_proto(graph, {}).SerializeToString())
    signal = np.random.default_rng(0).normal(size=(2, 6, *wide, *axes)).astype(np.float32)
    expected = formula(InNumpy(), signal, SPEC, WEIGHTS)
    np.testing.assert_allclose(session.run(None, {"x": signal})[0], expected, rtol=1e-5, atol=1e-6)


def test_every_pointwise_block_of_the_core_is_written():
    assert POINTWISE.keys() <= WRITERS.keys()
