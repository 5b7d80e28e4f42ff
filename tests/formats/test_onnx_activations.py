"""Activations in all the forms that exporters give them, against onnxruntime's outputs."""

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from tests.support.onnx_graphs import Graph, check, given, values  # noqa: E402

ACTIVATIONS = {
    "relu": lambda g, x: g.node("Relu", x),
    "leaky_relu": lambda g, x: g.node("LeakyRelu", x, alpha=0.3),
    "leaky_relu by prelu": lambda g, x: g.node("PRelu", x, np.full((3, 1), 0.2, np.float32)),
    "elu": lambda g, x: g.node("Elu", x, alpha=0.6),
    "elu by celu": lambda g, x: g.node("Celu", x),
    "selu": lambda g, x: g.node("Selu", x),
    "sigmoid": lambda g, x: g.node("Sigmoid", x),
    "tanh": lambda g, x: g.node("Tanh", x),
    "softplus": lambda g, x: g.node("Softplus", x),
    "softplus by where": lambda g, x: g.node(
        "Where", g.node("Greater", x, np.float32(20)), x, g.node("Softplus", x)
    ),
    "softmax": lambda g, x: g.node("Softmax", x, axis=1),
    "log_softmax": lambda g, x: g.node("LogSoftmax", x, axis=-2),
    "silu": lambda g, x: g.node("Mul", g.node("Sigmoid", x), x),
    "hard_sigmoid": lambda g, x: g.node("HardSigmoid", x, alpha=1 / 6),
    "hard_sigmoid by clip": lambda g, x: g.node(
        "Mul",
        g.node("Clip", g.node("Add", x, np.float32(3)), np.float32(0), np.float32(6)),
        np.float32(1 / 6),
    ),
    "hard_sigmoid by sum": lambda g, x: g.node(
        "Clip",
        g.node("Add", g.node("Mul", x, np.float32(1 / 6)), np.float32(0.5)),
        np.float32(0),
        np.float32(1),
    ),
    "hard_swish": lambda g, x: g.node("HardSwish", x),
    "hard_swish by clip": lambda g, x: g.node(
        "Div",
        g.node(
            "Mul", x, g.node("Clip", g.node("Add", x, np.float32(3)), np.float32(0), np.float32(6))
        ),
        np.float32(6),
    ),
    "hard_swish by gate": lambda g, x: g.node("Mul", x, g.node("HardSigmoid", x, alpha=1 / 6)),
    "relu by clip": lambda g, x: g.node("Clip", x, np.float32(0)),
    "relu6": lambda g, x: g.node("Clip", x, np.float32(0), np.float32(6)),
    "relu6 by min": lambda g, x: g.node("Min", g.node("Relu", x), np.float32(6)),
    "relu6 by max": lambda g, x: g.node("Max", np.float32(0), g.node("Min", x, np.float32(6))),
}


def _erf(g, x):
    return g.node("Add", g.node("Erf", g.node("Div", x, np.float32(2**0.5))), np.float32(1))


def _tanh(g, x, cube):
    inner = g.node("Mul", g.node("Add", x, cube), np.float32((2 / np.pi) ** 0.5))
    return g.node("Add", np.float32(1), g.node("Tanh", inner))


HALF, CUBIC = np.float32(0.5), np.float32(0.044715)
ACTIVATIONS |= {
    "gelu": lambda g, x: g.node("Mul", g.node("Mul", x, _erf(g, x)), HALF),
    "gelu by half": lambda g, x: g.node("Mul", g.node("Mul", x, HALF), _erf(g, x)),
    "gelu by gate": lambda g, x: g.node("Mul", g.node("Mul", HALF, _erf(g, x)), x),
    "gelu_tanh": lambda g, x: g.node(
        "Mul",
        HALF,
        g.node("Mul", x, _tanh(g, x, g.node("Mul", CUBIC, g.node("Mul", x, g.node("Mul", x, x))))),
    ),
    "gelu_tanh by pow": lambda g, x: g.node(
        "Mul",
        g.node("Mul", HALF, x),
        _tanh(g, x, g.node("Mul", g.node("Pow", x, np.float32(3)), CUBIC)),
    ),
}


@pytest.mark.parametrize("before", ["input", "product"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name, before, tmp_path):
    graph = Graph("n", 3, "t")
    x = graph.node("Mul", "x", graph.conv("x", 3, 3, 1)) if before == "product" else "x"
    path = graph.save(tmp_path / "a.onnx", ACTIVATIONS[name](graph, x))
    spec = check(path, given((2, 3, 40), 40) * 4, tmp_path)
    last = list(spec.children().values())[-1]
    assert (last.kind, last.name) == ("activation", name.split()[0])
    assert len(spec.children()) == (3 if before == "product" else 1)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_as_an_operator(approximate, tmp_path):
    graph = Graph("n", 3, "t", opset=20)
    path = graph.save(tmp_path / "a.onnx", graph.node("Gelu", "x", approximate=approximate))
    spec = check(path, values(2, 3, 30) * 4, tmp_path)
    assert spec.layers[{"none": "gelu1", "tanh": "gelu_tanh1"}[approximate]]
