"""The description of a checkpoint directory: config.json, and the header of the tensors beside it.

Both hold the same document. Where they differ, somebody has edited one of them, and nothing can
tell which is meant: the directory is refused by whoever reads it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcnzoo.errors import InputError, WeightError
from tcnzoo.files.atomic import settle_committed
from tcnzoo.files.bounds import shortened
from tcnzoo.files.documents import parse_json
from tcnzoo.files.shards import has_tensors, open_tensors

FORMAT = "tcnzoo"
VERSION = 1
CONFIG = "config.json"
# Hugging Face's libraries read files only that say one of a few frameworks under `format`.
HEADER = {"format": "pt", "made_by": FORMAT}


def is_own(metadata: Mapping[str, str]) -> bool:
    """Whether the header of a file says that it belongs to a checkpoint directory of ours."""
    return FORMAT in (metadata.get("made_by"), metadata.get("format"))


def described_by(directory: Path) -> dict[str, Any]:
    """The document of a directory's spec, with or without tensors beside config.json.

    Raises:
        InputError: nothing there describes a model.
        WeightError: a broken file, or a config.json that is not what the tensors were saved with.
    """
    settle_committed(directory)
    metadata = open_tensors(directory)[1] if has_tensors(directory) else {}
    return configuration(directory, metadata)


def configuration(directory: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The same, of a directory whose tensors have this header."""
    label = metadata.get("format", FORMAT)
    if label.startswith(f"{FORMAT}-"):
        raise WeightError(f"{str(directory)!r} says that it is {label!r}, not {FORMAT!r}")
    path, written = directory / CONFIG, None
    if path.is_file():
        written = spec_in(path.read_text("utf-8-sig", errors="replace"), repr(str(path)))
    if not is_own(metadata) or "config" not in metadata:
        if written is None:
            raise InputError(f"no checkpoint at {str(directory)!r}: {CONFIG} is not there")
        return written
    saved = spec_in(metadata["config"], f"the header of the tensors in {str(directory)!r}")
    if written is not None and written != saved:
        where, in_config, in_header = _difference(written, saved)
        raise WeightError(
            f"{str(path)!r} says {where}={shortened(in_config)}, but the tensors beside it were "
            f"saved with {shortened(in_header)}; undo the edit, or delete {CONFIG} to read the "
            "latter"
        )
    return saved


def spec_in(text: str, source: str) -> dict[str, Any]:
    """Take the spec out of a configuration's JSON text.

    Args:
        text: JSON.
        source: where it comes from, for the sentence of an error.
    Raises:
        WeightError: no configuration, or one of a later version.
    """
    try:
        document = parse_json(text)
    except ValueError as error:
        raise WeightError(f"{source} is not valid JSON: {error}") from None
    version = document.get("version") if isinstance(document, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise WeightError(
            f"{source} has format version {version}, but this tcnzoo reads up to {VERSION}"
        )
    if not isinstance(document, dict) or not isinstance(document.get("spec"), dict):
        raise WeightError(f"{source} must be a mapping with a 'spec'")
    spec: dict[str, Any] = document["spec"]
    return spec


def _difference(first: Any, second: Any, path: str = "spec") -> tuple[str, Any, Any]:
    """The first path at which two documents differ, and what each has there."""
    if isinstance(first, dict) and isinstance(second, dict):
        for name in dict.fromkeys((*first, *second)):
            if first.get(name) != second.get(name):
                return _difference(first.get(name), second.get(name), f"{path}.{name}")
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for index, (a, b) in enumerate(zip(first, second, strict=True)):
            if a != b:
                return _difference(a, b, f"{path}.{index}")
    return path, first, second
