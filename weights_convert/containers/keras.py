"""Files that Keras itself writes: .keras, .h5 and .weights.h5, read without Keras.

What a file says of its model is plain JSON, of which nothing is ever executed. Its variables lie by
place: `layers/conv1d_1/vars/0` is the first variable of the second Conv1D (Keras 3; Keras 2.12 to
2.15 say `_layer_checkpoint_dependencies` and count otherwise). A legacy .h5 has them by name:
`model_weights/conv1d_1/.../kernel`.

Source: files written by Keras 2.13.1 and 3.15.1 (Apache-2.0).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from tcnzoo.errors import InputError, WeightError
from tcnzoo.files.lazy import LazyTensors

from .detect import archive, kind_of
from .h5 import h5_file, members, names, open_h5

PLACED, PLACED_OLD, NAMED = "layers", "_layer_checkpoint_dependencies", "model_weights"
SUFFIXES = (".keras", ".weights.h5", ".h5")
_JSON = ("config.json", "metadata.json")

_DROPPED = (
    (re.compile(r"(.*/)?(optimizer|optimizer_weights)/.*"), "state of the optimiser"),
    (
        re.compile(r"(.*/)?seed_generator(_\d+)?/.*|.*seed_generator_state(:0)?"),
        "state of a generator of random numbers, which only training uses",
    ),
)


@dataclass(frozen=True)
class Document:
    """What a file says of its model.

    Attributes:
        model: the class and the configuration of the model, as Keras serialises a layer.
        old: written by a Keras before 3, in which some words mean something else.
    """

    model: Mapping[str, Any]
    old: bool = False


@dataclass(frozen=True)
class Variable:
    """Where Keras keeps one variable of a layer.

    Attributes:
        slot: its name in a legacy file, as `kernel`.
        index: its place among the variables of its group.
        inner: groups below that of the layer, any one of which holds it; a part `stem#1` is the
            second one of that stem.
        named: names below that of the layer, in a legacy file.
        layer, group: the layer's names from the outermost model on, and its groups.
    """

    slot: str
    index: int
    inner: tuple[str, ...] = ("",)
    named: tuple[str, ...] = ()
    layer: tuple[str, ...] = ()
    group: tuple[str, ...] = ()


@dataclass(frozen=True)
class KerasFile:
    """A file with all its tensors.

    Attributes:
        path: for the sentences of errors.
        document: None for weights alone.
        tensors: by their full paths; each is read when it is asked for.
        root: the group that the layers are in, empty for the file itself.
    """

    path: Path
    document: Document | None
    tensors: LazyTensors
    root: str

    def path_of(self, variable: Variable) -> str:
        """Full path of a variable.

        Raises:
            WeightError: the file does not hold it.
        """
        path = self._named(variable) if self.root in (NAMED, "") else self._placed(variable)
        if path is None:
            raise WeightError(
                f"{str(self.path)!r} must hold the {variable.slot} of layer {variable.layer[-1]!r}"
                f"{' in ' + '/'.join(variable.named) if variable.named else ''}, but does not"
            )
        return path

    def _placed(self, variable: Variable) -> str | None:
        """The path where Keras counts layers by their class."""
        base = f"/{self.root}/".join(variable.group)
        for inner in variable.inner:
            parts = [self.root, *base.split("/"), *filter(None, inner.split("/"))]
            group = self._numbered(parts)
            if group is not None and f"{group}/vars/{variable.index}" in self.tensors:
                return f"{group}/vars/{variable.index}"
        return None

    def _numbered(self, parts: list[str]) -> str | None:
        """Join the parts of a path, each `stem#1` by its number."""
        path: list[str] = []
        for part in parts:
            stem, counted, number = part.partition("#")
            if counted and self.root == PLACED:
                stem += f"_{number}" if int(number) else ""
            elif counted:
                # Keras 2 leaves numbers out, but keeps the order.
                groups = self._groups("/".join(path), stem)
                if int(number) >= len(groups):
                    return None
                stem = groups[int(number)]
            path.append(stem)
        return "/".join(path)

    def _groups(self, parent: str, stem: str) -> list[str]:
        """Groups of one stem below a path, in the order of their numbers."""
        pattern = re.compile(rf"{re.escape(parent)}/({re.escape(stem)}(?:_(\d+))?)/")
        matches = (pattern.match(path) for path in self.tensors)
        numbers = {match[1]: int(match[2] or 0) for match in matches if match}
        return sorted(numbers, key=lambda name: numbers[name])

    def _named(self, variable: Variable) -> str | None:
        """The path where layers go by their names."""
        owner = (*variable.layer[1:], *variable.named) or variable.layer[-1:]
        start = f"{self.root}/{variable.layer[0]}/".removeprefix("/")
        for path in self.tensors:
            parts = path.removeprefix(start).split("/")
            if (
                path.startswith(start)
                and parts[-1].removesuffix(":0") == variable.slot
                and tuple(parts[:-1])[-len(owner) :] == owner
            ):
                return path
        return None


def dropped_reason(path: str) -> str | None:
    """Why a tensor that is no weight may be left out; None where it may not."""
    for pattern, reason in _DROPPED:
        if pattern.fullmatch(path):
            return reason
    return None


def read_document(path: Path) -> Document | None:
    """What a file says of its model; None for any other file, and for weights alone.

    Raises:
        WeightError: a damaged file, or one whose configuration is no JSON.
    """
    kind = kind_of(path)
    if kind == "keras":
        with archive(path) as opened:
            texts = {name: opened.read(name) for name in opened.namelist() if name in _JSON}
        version = _parsed(path, texts["metadata.json"]) if "metadata.json" in texts else {}
        return _document(_parsed(path, texts["config.json"]), version.get("keras_version"))
    if kind != "h5":
        return None
    with h5_file(path, path) as file:
        attributes = {
            name: _text(file.attrs.get(name)) for name in ("model_config", "keras_version")
        }
    if attributes["model_config"] is None:
        return None
    return _document(
        _parsed(path, attributes["model_config"].encode("utf-8", "surrogateescape")),
        attributes["keras_version"],
    )


def hinted_document(path: Path, given: Mapping[str, Any]) -> Document | None:
    """The JSON of `model.to_json()` in the file that a hint names.

    Args:
        path: of the file that the hint is for.
        given: hints, `config` among them or not.
    Raises:
        InputError: no such file, or one that is of no use.
        WeightError: what is no JSON.
    """
    if "config" not in given:
        return None
    if len(given) > 1:
        raise InputError(f"the hint config says all of a model, but {', '.join(given)} were given")
    config_file = Path(str(given["config"]))
    if not config_file.is_file():
        raise InputError(f"no file at {str(config_file)!r}")
    model = _parsed(config_file, config_file.read_bytes())
    return _document(model, model.get("keras_version"))


def _document(model: Mapping[str, Any], version: Any) -> Document:
    """A document, and which Keras wrote it."""
    return Document(model, str(version or "3").startswith(("0.", "1.", "2.")))


def _text(value: Any) -> str | None:
    """An attribute of an .h5 file as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return value if isinstance(value, str) else None


def _parsed(path: Path, text: bytes) -> Mapping[str, Any]:
    """JSON that must be a mapping."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightError(
            f"the configuration in {str(path)!r} is not valid JSON: {error}"
        ) from None
    return document if isinstance(document, dict) else {}


def weight_groups(path: Path) -> list[str] | None:
    """Groups of the layers in a file of weights alone; None for any other file."""
    if kind_of(path) != "h5":
        return None
    with h5_file(path, path) as file:
        if "model_config" in file.attrs:
            return None
        if "layer_names" in file.attrs:
            return names(file)
        return members(file, PLACED) or members(file, PLACED_OLD) or None


def read_keras(path: Path, document: Document | None = None) -> KerasFile:
    """Read a file with all its tensors.

    Args:
        path: of a .keras, .h5 or .weights.h5 file.
        document: what is known of its model where the file does not say it.
    Raises:
        BackendMissing: h5py is not installed.
        WeightError: a damaged file, or none of these.
    """
    document = read_document(path) or document
    kind = kind_of(path)
    if kind == "keras":
        with archive(path) as opened:
            content: Path | BytesIO = BytesIO(opened.read("model.weights.h5"))
    elif kind == "h5":
        content = path
    else:
        raise WeightError(f"{str(path)!r} is neither .keras nor .h5 inside")
    with h5_file(path, content) as file:
        roots = [root for root in (PLACED, PLACED_OLD, NAMED) if members(file, root)]
    return KerasFile(path, document, open_h5(path, content), roots[0] if roots else "")
