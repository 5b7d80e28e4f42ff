"""Checkpoints on disk: config.json and model.safetensors, written whole or not at all."""

import contextlib
import json
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401 - registers bfloat16 with numpy, which safetensors needs
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError, WeightError
from tcnzoo.params import Weights, check_weights
from tcnzoo.specs import Spec
from tcnzoo.zoo import parse_spec

FORMAT = "tcnzoo"
VERSION = 1
CONFIG = "config.json"
TENSORS = "model.safetensors"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it to `path` once the block has ended well.

    A failure inside the block removes the temporary file and leaves what was at `path` untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def refuse_existing(path: Path) -> None:
    """Raise InputError if there is something at `path` already."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(
            f"{str(path)!r} exists already; choose another name or overwrite it by name"
        )


def write_safetensors(
    path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays of any strides: the one writer of .safetensors in this project.

    safetensors 0.8.0 stores transposed, strided and flipped numpy arrays with wrong values and no
    error, so every array is laid out in C order first (`asarray`, which keeps 0-d arrays 0-d).
    """
    ordered = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    data = to_safetensors(ordered, metadata=dict(metadata or {}))
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def read_safetensors(path: Path) -> tuple[Weights, dict[str, str]]:
    """Read all arrays and the metadata of a .safetensors file.

    Raises:
        InputError: no such file.
        WeightError: the file is cut short or is not safetensors.
    """
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, dict(file.metadata() or {})


def safetensors_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of a .safetensors file, and no tensor; raises as `read_safetensors`."""
    with _opened(path) as file:
        return dict(file.metadata() or {})


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a .safetensors file, whose header is held against its size before any tensor is read."""
    if not path.is_file():
        raise InputError(f"no file at {str(path)!r}")
    try:
        with safe_open(path, framework="np") as file:
            yield file
    except (SafetensorError, ValueError) as error:
        raise WeightError(
            f"{str(path)!r} is not a whole safetensors file: {str(error).splitlines()[0]}"
        ) from None
    except AttributeError as error:
        raise WeightError(f"{str(path)!r} holds a type that numpy cannot: {error}") from None


def config_document(spec: Spec) -> dict[str, Any]:
    """What config.json holds, and the header of model.safetensors under `config`."""
    return {"format": FORMAT, "version": VERSION, "spec": spec.model_dump(mode="json")}


def read_config(text: str, place: str) -> Spec:
    """Read the text of a `config_document` back.

    Args:
        text: JSON.
        place: where it comes from, for the sentence of an error.
    Raises:
        WeightError: no configuration, or one of a later version.
        SpecError: its spec is malformed.
    """
    return parse_spec(_spec_in(text, place))


def write_checkpoint(
    directory: str | os.PathLike[str],
    spec: Spec,
    weights: Mapping[str, Array],
    *,
    overwrite: bool = False,
) -> None:
    """Write a checkpoint directory.

    The header of model.safetensors repeats the configuration, and replacing that one file is what
    makes a new checkpoint: a crash before leaves the old one whole, a crash after leaves the new.

    Args:
        directory: made if it is not there.
        spec: of the model.
        weights: every tensor of the spec's param table.
    Raises:
        InputError: something is there already and `overwrite` is not set.
        WeightError: the weights do not fit the spec.
    """
    target = Path(directory)
    if not overwrite:
        refuse_existing(target)
    table = spec.params()
    check_weights(table, weights)
    text = json.dumps(config_document(spec), indent=2) + "\n"
    ordered = {name: weights[name] for name in table}
    write_safetensors(target / TENSORS, ordered, {"format": FORMAT, "config": text})
    with replacing(target / CONFIG) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_checkpoint(directory: str | os.PathLike[str]) -> tuple[Spec, Weights]:
    """Read a checkpoint directory: (spec, weights in table order).

    Raises:
        InputError: there is no checkpoint.
        SpecError: the configuration is not a spec.
        WeightError: a broken file, or tensors that do not fit the spec.
    """
    source = Path(directory)
    if not (source / TENSORS).is_file():
        raise InputError(f"no checkpoint at {str(source)!r}: {TENSORS} is not there")
    weights, metadata = read_safetensors(source / TENSORS)
    spec = parse_spec(_configuration(source, metadata))
    table = spec.params()
    check_weights(table, weights)
    return spec, {name: weights[name] for name in table}


def _configuration(source: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The spec document: the header's, written together with the tensors, else config.json's."""
    label = metadata.get("format", FORMAT)
    if label.startswith(f"{FORMAT}-"):
        raise WeightError(f"{str(source / TENSORS)!r} says that it is {label!r}, not {FORMAT!r}")
    written = None
    if (source / CONFIG).is_file():
        text = (source / CONFIG).read_text("utf-8", errors="replace")
        written = _spec_in(text, f"{str(source / CONFIG)!r}")
    if metadata.get("format") != FORMAT or "config" not in metadata:
        if written is None:
            raise InputError(f"no checkpoint at {str(source)!r}: {CONFIG} is not there")
        return written
    saved = _spec_in(metadata["config"], f"the header of {str(source / TENSORS)!r}")
    if written is not None and written != saved:
        warnings.warn(
            f"{str(source / CONFIG)!r} differs from the configuration that {TENSORS} was saved "
            "with; the latter is used",
            stacklevel=4,
        )
    return saved


def _spec_in(text: str, place: str) -> dict[str, Any]:
    """Take the spec out of a configuration's JSON text."""
    try:
        document = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise WeightError(f"{place} is not valid JSON: {error}") from None
    version = document.get("version") if isinstance(document, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise WeightError(
            f"{place} has format version {version}, but this tcnzoo reads up to {VERSION}"
        )
    if not isinstance(document, dict) or not isinstance(document.get("spec"), dict):
        raise WeightError(f"{place} must be a mapping with a 'spec'")
    spec: dict[str, Any] = document["spec"]
    return spec
