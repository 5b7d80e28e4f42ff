"""Files of our own Keras backend: .keras and .weights.h5, read and written without Keras.

The backend's `SpecModel` keeps all its variables under their neutral names in the group `vars`, and
its spec in its configuration.
"""

import json
import shutil
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from io import SEEK_END, BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from zipfile import ZipFile, ZipInfo

import numpy as np

from tcnzoo.checkpoints.directory import replacing
from tcnzoo.errors import WeightError
from tcnzoo.files.lazy import LazyTensors, Tensors, facts_of, picked
from tcnzoo.files.sinks import Sink
from tcnzoo.formats.report import Converted
from tcnzoo.specs import Spec

from ..containers.detect import archive, kind_of
from ..containers.h5 import h5_file, members, open_h5, write_h5
from ..containers.own import header, mark, read_own, to_stored

NAME = "keras"
DESCRIPTION = "model or weights of the Keras backend (.keras or .weights.h5)"
SUFFIXES = (".keras", ".weights.h5")
FOREIGN = False
LAYOUT = {"OIK": "KIO", "OIHW": "HWIO", "IOK": "KOI", "OI": "IO", "C": "C"}

MODEL = {"module": "tcnzoo.backends.keras.model", "class_name": "SpecModel"}
REGISTERED = "tcnzoo>SpecModel"
GROUP = "vars/"
# Where a .weights.h5 of ours has its configuration; Keras passes it over.
CONFIG = "tcnzoo_config"
# Bytes that are copied at a time.
CHUNK = 2**20


def detect(path: Path) -> bool:
    """Whether it is a model of our class, or has named variables at its root, as only ours have."""
    kind = kind_of(path)
    if kind == "keras":
        return _model_config(path).get("registered_name") == REGISTERED
    if kind != "h5":
        return False
    with h5_file(path, path) as file:
        return any(not name.isdigit() for name in members(file, "vars"))


def _model_config(path: Path) -> dict[str, Any]:
    """config.json of a .keras file."""
    with archive(path) as opened:
        text = opened.read("config.json")
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightError(f"'config.json' in {str(path)!r} is not valid JSON: {error}") from None
    return config if isinstance(config, dict) else {}


def _contents(path: Path) -> tuple[LazyTensors, dict[str, Any]]:
    """Every dataset by its path, and what stands beside them."""
    kind = kind_of(path)
    if kind == "keras":
        with archive(path) as opened:
            content = BytesIO(opened.read("model.weights.h5"))
        return open_h5(path, content), _beside_model(path)
    if kind != "h5":
        raise WeightError(f"{str(path)!r} is neither .keras nor .weights.h5 inside")
    arrays = open_h5(path, path)
    with h5_file(path, path) as file:
        beside = {"format": file.attrs.get("format", "")}
    if CONFIG not in arrays:
        return arrays, beside
    config = arrays[CONFIG].tobytes().decode("utf-8", errors="replace")
    others = picked(arrays, {name: name for name in arrays if name != CONFIG})
    return others, {**beside, "config": config}


def _beside_model(path: Path) -> dict[str, Any]:
    """The configuration of a .keras file in the words of our other files."""
    model = _model_config(path)
    config = model.get("config")
    if model.get("registered_name") != REGISTERED or not isinstance(config, dict):
        raise WeightError(
            f"{str(path)!r} holds a Keras model of class {model.get('class_name')!r}, not "
            f"{MODEL['class_name']!r}, which tcnzoo's Keras backend makes"
        )
    return {"format": mark(NAME), "config": json.dumps({"spec": config.get("spec")})}


def tensors(path: Path) -> Tensors:
    """Every tensor by its name, those of an optimiser by their path."""
    arrays = _contents(path)[0]
    return picked(arrays, {name.removeprefix(GROUP): name for name in arrays})


def read(path: Path, hints: Mapping[str, Any]) -> Converted:
    """Read a model, or weights; those written by `model.save_weights` need their spec as a hint."""
    arrays, beside = _contents(path)
    names = {name.removeprefix(GROUP): name for name in arrays if name.startswith(GROUP)}
    own = picked(arrays, names)
    converted = read_own(NAME, path, own, beside, hints, LAYOUT)
    dropped = {name: "state of training" for name in arrays if not name.startswith(GROUP)}
    return Converted(converted.spec, converted.weights, converted.used, dropped)


def write(path: Path, spec: Spec, weights: Tensors) -> Mapping[str, str]:
    """Write a model that `keras.saving.load_model` takes, or weights for `model.load_weights`."""
    stored = to_stored(spec.params(), weights, LAYOUT)
    with replacing(path) as temporary:
        if path.name.lower().endswith(".keras"):
            _write_model(temporary, spec, stored)
        else:
            _write_weights(temporary, spec, stored)
    return {}


def _write_weights(path: Path, spec: Spec, stored: Tensors) -> None:
    """Write the group of variables, and the configuration where Keras passes it over."""
    beside = header(NAME, spec)
    with Sink(path) as content, h5_file(path, content, "w") as file:
        write_h5(file.create_group("vars"), stored)
        file.attrs["format"] = beside["format"]
        file[CONFIG] = np.frombuffer(beside["config"].encode(), np.uint8)


def _write_model(path: Path, spec: Spec, stored: Tensors) -> None:
    """Write the archive that `keras.Model.save` writes."""
    config = {
        "spec": spec.model_dump(mode="json"),
        "name": "spec_model",
        "dtype": _variable_type(stored),
        "trainable": True,
    }
    document = {**MODEL, "config": config, "registered_name": REGISTERED}
    with TemporaryFile(dir=path.parent) as content, ZipFile(path, "w") as opened:
        sink = Sink(content.fileno(), closefd=False)
        with sink, h5_file(path, sink, "w") as file:
            write_h5(file.create_group("vars"), stored)
        opened.writestr("metadata.json", json.dumps(_metadata()))
        opened.writestr("config.json", json.dumps(document))
        member = ZipInfo("model.weights.h5")
        member.file_size = content.seek(0, SEEK_END)
        content.seek(0)
        with opened.open(member, "w") as packed:
            shutil.copyfileobj(content, packed, CHUNK)


def _variable_type(stored: Tensors) -> str:
    """The one type of all variables that holds every tensor exactly."""
    types = {str(facts.dtype) for facts in facts_of(stored).values()}
    if len(types) == 1:
        return types.pop()
    return "float64" if "float64" in types else "float32"


def _metadata() -> dict[str, str]:
    """What Keras notes of a file's making."""
    try:
        keras_version = version("keras")
    except PackageNotFoundError:
        keras_version = "3"
    return {"keras_version": keras_version, "date_saved": time.strftime("%Y-%m-%d@%H:%M:%S")}
