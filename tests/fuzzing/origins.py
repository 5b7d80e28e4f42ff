"""Samples as other projects write them."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tcnzoo.formats.protocol import convert
from tests.fuzzing.sample import Sample, container_of


def deepepi_in_torch(folder: Path) -> Iterator[Sample]:
    """A checkpoint as the origin saves it, and one of ours."""
    import torch

    from tests.support.osd_nets import torch_net

    folder.mkdir()
    (folder / "origin").mkdir()
    (folder / "ours").mkdir()
    net = torch_net(filters=(2, 3), dense=(4, 3), kernel_size=3)
    document = {"epoch": 3, "model_state_dict": net.state_dict(), "val_loss": 0.5}
    path = folder / "origin" / "net.pt"
    torch.save({**document, "conv_dropout": 0.0, "dense_dropout": 0.1}, path)
    yield Sample("osd-torch", path, "pt")
    convert(path, folder / "start", from_format="osd-torch")
    convert(folder / "start", folder / "ours" / "net.pt", to_format="osd-torch")
    yield Sample("osd-torch", folder / "ours" / "net.pt", "pt")


def _saved_by_keras(
    format_name: str, model: Any, folder: Path, names: tuple[str, ...] = ("net.keras", "net.h5")
) -> Iterator[Sample]:
    """A model in files that Keras has for one."""
    for name in names:
        path = folder / name.partition(".")[2] / name
        path.parent.mkdir(parents=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Keras, against .h5
            model.save(path)
        yield Sample(format_name, path, container_of(path))


def deepepi_in_keras(folder: Path) -> Iterator[Sample]:
    """The net of the origin."""
    from tests.support.osd_nets import keras_net

    net = keras_net(filters=(2, 3), dense=(4, 3), kernel_size=3)
    yield from _saved_by_keras("osd-keras", net, folder)


def keras_tcn(folder: Path) -> Iterator[Sample]:
    """Models around a layer of keras-tcn."""
    import keras
    from tcn import TCN

    from tests.support.keras_files import filled

    for name, normed in (("net.keras", True), ("net.h5", False)):
        x = keras.Input((None, 3))
        y = TCN(4, kernel_size=2, dilations=(1, 2), use_batch_norm=normed)(x)
        net = filled(keras.Model(x, keras.layers.Dense(2)(y)))
        yield from _saved_by_keras("keras-tcn", net, folder, (name,))


def graphs(folder: Path) -> Iterator[Sample]:
    """A graph of another exporter, with its values in it and in a file beside it."""
    import onnx

    from tests.support.onnx_graphs import Graph, values

    graph = Graph("N", 3, "T")
    y = graph.node("Relu", graph.conv("x", 4, 3, 2, pads=[1, 0], dilations=[1], strides=[1]))
    scale, shift, mean, variance = (values(4, seed=seed, low=0.3) for seed in range(4))
    y = graph.node("BatchNormalization", y, scale, shift, mean, variance, epsilon=1e-3)
    y = graph.node("Flatten", graph.node("GlobalAveragePool", y))
    model = graph.model(graph.node("Gemm", y, values(2, 4), values(2), transB=1))
    for number, outside in enumerate((False, True)):
        path = folder / str(number) / "net.onnx"
        path.parent.mkdir(parents=True)
        onnx.save_model(
            model, path, save_as_external_data=outside, location="net.data", size_threshold=8
        )
        yield Sample("onnx", path, "onnx", runs=True)
