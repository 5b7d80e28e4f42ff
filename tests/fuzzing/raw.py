"""Tensors of a file by other means than ours: what a correct read is held against.

Only shapes and bits are kept, of which no reader may change any.
"""

import io
import json
import zipfile

import numpy as np

BYTES = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def bits(array):
    """An array as unsigned integers of the same bits."""
    array = np.asarray(array)
    array = array.astype(array.dtype.newbyteorder("="), order="C")
    kind = BYTES.get(array.dtype.itemsize, array.dtype)
    return np.frombuffer(array.tobytes(), kind).reshape(array.shape)


def _pt(path):
    import torch

    from tcnzoo.weights_convert.containers.pickled import numbers_allowed

    def walk(document, prefix="", depth=0):
        for name, value in document.items():
            if isinstance(value, torch.Tensor):
                yield f"{prefix}{name}", value
            elif isinstance(value, dict) and depth < 8:
                yield from walk(value, f"{prefix}{name}.", depth + 1)

    with numbers_allowed():
        document = torch.load(path, map_location="cpu", weights_only=True)
    for name, tensor in walk(document):
        kind = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
        tensor = tensor.detach().resolve_neg().resolve_conj().contiguous()
        if tensor.element_size() in kind:
            flat = tensor.reshape(-1).view(kind[tensor.element_size()])
            yield name, flat.numpy().reshape(tensor.shape)
        else:
            yield name, tensor.numpy()


def _safetensors(path):
    import safetensors

    for name, entry in safetensors.deserialize(path.read_bytes()):
        size = len(entry["data"]) // max(1, int(np.prod(entry["shape"])))
        kind = BYTES.get(size, np.uint8)
        yield name, np.frombuffer(bytes(entry["data"]), kind).reshape(entry["shape"])


def _npz(path):
    with np.load(path, allow_pickle=False) as held:
        for name in held.files:
            yield name, held[name]


def _h5(source):
    import h5py

    found = {}
    with h5py.File(source, "r") as file:
        file.visititems(
            lambda name, item: found.update({name: item[()]}) if hasattr(item, "shape") else None
        )
    yield from found.items()


def _keras(path):
    with zipfile.ZipFile(path) as opened:
        yield from _h5(io.BytesIO(opened.read("model.weights.h5")))


def _onnx(path):
    import onnx
    from onnx import numpy_helper

    model = onnx.load_model(path, load_external_data=False)
    for one in model.graph.initializer:
        yield one.name, numpy_helper.to_array(one, str(path.parent))
    for node in model.graph.node:
        for held in node.attribute:
            if node.op_type == "Constant" and held.name == "value":
                yield node.output[0], numpy_helper.to_array(held.t)


def _directory(path):
    index, names = path / "model.safetensors.index.json", {"model.safetensors"}
    if not (path / "model.safetensors").is_file():
        names = set(json.loads(index.read_text())["weight_map"].values())
    for name in names:
        yield from _safetensors(path / name)


READERS = {
    "pt": _pt, "safetensors": _safetensors, "npz": _npz, "h5": _h5, "keras": _keras, "onnx": _onnx,
    "directory": _directory,
}  # fmt: skip


def raw_tensors(path, container):
    """Name -> bits of every tensor of a file."""
    return {str(name): bits(array) for name, array in READERS[container](path)}
