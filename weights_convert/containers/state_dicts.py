"""State_dicts as people keep them: plain, beside training state, or as part of a larger model."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcnzoo.arrays import Array, Weights
from tcnzoo.checkpoints.directory import open_safetensors, read_safetensors, write_safetensors
from tcnzoo.errors import InputError, WeightError, suggestion
from tcnzoo.files.lazy import Tensors
from tcnzoo.formats.report import Converted, Undetermined
from tcnzoo.specs import Spec

from .detect import kind_of
from .own import MARK, Layout, to_neutral
from .pt import arrays_of, notes_of, pickled_strings, read_pt, state_dict_of, write_pt

# The hint that says which of several nets in a file is meant.
PREFIX = "prefix"
# Dictionaries within dictionaries are opened so deep, and each once: one may hold itself.
DEPTH = 6


@dataclass(frozen=True)
class Net:
    """One net in a file.

    Attributes:
        tensors: its tensors, by their names inside the net.
        prefix: what stands before these names in the file, with the dot; empty where nothing does.
        beside: every other tensor of the file -> why it is dropped.
    """

    tensors: Weights
    prefix: str
    beside: Mapping[str, str]


def open_state_dict(path: Path) -> tuple[Weights, Mapping[str, Any]]:
    """Read all tensors of a .pt or .safetensors file, and the notes beside them.

    Dictionaries within the document are opened, and their names joined by dots, so that
    `{"model_state_dict": {"weight": ...}}` holds `model_state_dict.weight`; numbers and lists
    beside them are training state and are passed over.

    Raises:
        WeightError: a broken or unsafe file, or one without tensors.
    """
    if kind_of(path) == "safetensors":
        return read_safetensors(path)
    document = read_pt(path)
    if not isinstance(document, Mapping):
        return arrays_of(path, document), {}
    texts = {name: value for name, value in document.items() if isinstance(value, str)}
    return arrays_of(path, _flat(path, document) or document), {**texts, **notes_of(document)}


def _flat(path: Path, document: Mapping[Any, Any]) -> dict[str, Any]:
    """The tensors of a document by dotted names."""
    tensors: dict[str, Any] = {}
    for name, tensor in _leaves(document, DEPTH, set()):
        if name in tensors:
            raise WeightError(f"{str(path)!r} holds two tensors that are named {name!r}")
        tensors[name] = tensor
    return tensors


def _leaves(document: Mapping[Any, Any], depth: int, opened: set[int]) -> Iterator[tuple[str, Any]]:
    """Walk through the tensors, at most so many dictionaries deep."""
    opened.add(id(document))
    for name, value in document.items():
        if hasattr(value, "untyped_storage"):
            yield str(name), value
        elif isinstance(value, Mapping) and depth > 1 and id(value) not in opened:
            for inner, leaf in _leaves(value, depth - 1, opened):
                yield f"{name}.{inner}", leaf


def names_in(path: Path) -> tuple[str, set[str]]:
    """The mark that a file of ours has, and the names of its tensors; nothing is run.

    Raises:
        WeightError: a file that is cut short or unsafe.
    """
    kind = kind_of(path)
    if kind == "pt":
        names = pickled_strings(path)
        return next((name for name in sorted(names) if name.startswith(MARK)), ""), names
    if kind == "safetensors":
        tensors, metadata = open_safetensors(path)
        return metadata.get("format", ""), set(tensors)
    return "", set()


def write_state_dict(path: Path, tensors: Tensors, beside: Mapping[str, str]) -> None:
    """Write tensors and a header, as .safetensors or .pt by the ending of the name."""
    if path.suffix.lower() == ".safetensors":
        write_safetensors(path, tensors, beside)
    else:
        write_pt(path, state_dict_of(tensors, beside))


def net_in(path: Path, tensors: Weights, root: re.Pattern[str], hints: Mapping[str, Any]) -> Net:
    """Find the net in a file.

    Args:
        path: for the sentences of errors.
        tensors: all tensors of the file.
        root: matches a name that every such net has; its first group is what stands before it.
        hints: `prefix`, where the file holds several nets.
    Raises:
        Undetermined: several nets, and no hint.
        InputError: a hint that names none of them.
    """
    matches = (root.match(name) for name in tensors)
    prefixes = sorted({match[1] for match in matches if match})
    prefix = _hinted(path, prefixes, hints[PREFIX]) if PREFIX in hints else _only(path, prefixes)
    beside = [name for name in tensors if not name.startswith(prefix)]
    reason = f"outside of {prefix.removesuffix('.')!r}, which alone is converted"
    inside = {
        name.removeprefix(prefix): array
        for name, array in tensors.items()
        if name.startswith(prefix)
    }
    return Net(inside, prefix, dict.fromkeys(beside, reason))


def _only(path: Path, prefixes: list[str]) -> str:
    """The one prefix that there is; that of a file without any such net is empty."""
    if len(prefixes) > 1:
        names = ", ".join(repr(prefix.removesuffix(".")) for prefix in prefixes)
        raise Undetermined(
            f"{str(path)!r} holds {len(prefixes)} such nets, with the prefixes {names}; choose "
            f"one, as in: --set {PREFIX}={prefixes[0].removesuffix('.')}"
        )
    return prefixes[0] if prefixes else ""


def _hinted(path: Path, prefixes: list[str], given: Any) -> str:
    """The prefix that the caller names, with the dot."""
    prefix = "" if given is None else str(given)
    prefix += "." * (prefix != "" and not prefix.endswith("."))
    if prefix not in prefixes:
        named, known = prefix.removesuffix("."), [name.removesuffix(".") for name in prefixes]
        raise InputError(
            f"{str(path)!r} holds no such net with the prefix {named!r}{suggestion(named, known)}"
        )
    return prefix


def assign_tensors(
    path: Path,
    net: Net,
    spec: Spec,
    assumed: Mapping[str, Any],
    neutral: Callable[[str], str],
    reason: Callable[[str], str | None],
    layout: Layout,
) -> Converted:
    """Sort a net's tensors into those that become a row of the spec's table and those that do not.

    Args:
        path: for the sentences of errors.
        net: in the file.
        spec: of the net.
        assumed: as in Converted.
        neutral: gives the neutral name of one of the net's tensors.
        reason: says why a tensor without a row may be left out; None where it may not.
        layout: stored order of each kind of tensor.
    Raises:
        WeightError: a tensor that belongs nowhere, two that would become one, a missing one, or a
            shape that differs.
    """
    table = spec.params()
    used, dropped = {}, dict(net.beside)
    stored: dict[str, Array] = {}
    for name, array in net.tensors.items():
        original, target, why = net.prefix + name, neutral(name), reason(name)
        if target in stored:
            raise WeightError(f"{str(path)!r} holds {target!r} twice, once as {original!r}")
        if target in table:
            used[original], stored[target] = target, array
        elif why is not None:
            dropped[original] = why
        else:
            raise WeightError(f"tensor {original!r} of {str(path)!r} is no part of the net")
    return Converted(spec, to_neutral(table, stored, layout), used, dropped, assumed)
