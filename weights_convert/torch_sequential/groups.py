"""The layers of an `nn.Sequential` by the names and shapes of their tensors."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcnzoo.errors import InputError, WeightError, suggestion
from tcnzoo.formats.report import Undetermined

COUNTER = "num_batches_tracked"
_DIRECTION = "parametrizations.weight.original1"
# As torch before 2.0 wrote weight norm.
_OLD = {"weight_g": "parametrizations.weight.original0", "weight_v": _DIRECTION}

_TENSOR = (
    r"weight|bias|running_mean|running_var|num_batches_tracked|weight_[gv]"
    r"|parametrizations\.weight\.original[01]"
)
# What stands before the numbers, the numbers, and the tensor's own name.
_NAME = re.compile(rf"(?:(.*?)\.)??((?:\d+\.)+)({_TENSOR})")
# A string in a pickle that looks like a tensor of some layer; `parametrizations.weight` is one of
# the modules that weight norm makes.
_LAYER = re.compile(rf".*\.(?:{_TENSOR})")
_MODULE = re.compile(r".*\.parametrizations\.weight")


@dataclass
class Group:
    """The tensors of one layer.

    Attributes:
        prefix: what stands before the names of its tensors.
        names: names inside the layer, weight norm's by the current ones -> those of the file.
        counters: names of counters in the file.
        shapes: by the names inside the layer.
    """

    prefix: str
    names: dict[str, str] = field(default_factory=dict)
    counters: list[str] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def guess(self) -> str:
        """What the layer is, as far as its tensors say."""
        mean = self.shapes.get("running_mean")
        if mean is not None:
            return f"BatchNorm1d({_listed(mean)})"
        direction = self.shapes.get(_DIRECTION)
        shape = self.shapes.get("weight", direction or ())
        if len(shape) == 3:
            text = f"Conv1d({shape[1]}, {shape[0]}, {shape[2]})"
            return text if direction is None else f"weight_norm({text})"
        return (
            f"Linear({shape[1]}, {shape[0]})" if len(shape) == 2 else f"LayerNorm({_listed(shape)})"
        )


def _listed(shape: tuple[int, ...]) -> str:
    """A shape without brackets."""
    return ", ".join(map(str, shape))


def prefixes_in(names: Iterable[str]) -> set[str]:
    """What stands before the numbers in names of tensors; nothing where others are among them."""
    prefixes = set()
    for name in names:
        match = _NAME.fullmatch(name)
        if match:
            prefixes.add(match[1] or "")
        elif _LAYER.fullmatch(name) and not _MODULE.fullmatch(name):
            return set()
    return prefixes


def groups_in(
    path: Path, shapes: Mapping[str, Any], hints: Mapping[str, Any]
) -> tuple[list[Group], dict[str, str]]:
    """The layers of a file in order.

    Args:
        path: for the sentences of errors.
        shapes: something with a `shape` by each name in the file.
        hints: `prefix`, one or several in order, where the file leaves a choice.
    Returns:
        the layers, and the tensors outside of the net -> why they are dropped.
    Raises:
        Undetermined: several prefixes, and no hint.
        InputError: a prefix that is not in the file.
        WeightError: no layers, or among them a tensor of another kind.
    """
    parts = {name: _NAME.fullmatch(name) for name in shapes}
    known = list(dict.fromkeys(match[1] or "" for match in parts.values() if match))
    prefixes = _chosen(path, known, hints)
    groups: dict[tuple[int, tuple[int, ...]], Group] = {}
    outside: dict[str, str] = {}
    for name, match in parts.items():
        if match is not None and (match[1] or "") in prefixes:
            numbers = tuple(map(int, match[2].rstrip(".").split(".")))
            key = prefixes.index(match[1] or ""), numbers
            _add(groups.setdefault(key, Group(name[: match.start(3) - 1])), name, match[3], shapes)
        elif "" in prefixes or name.startswith(tuple(f"{prefix}." for prefix in prefixes)):
            raise WeightError(
                f"tensor {name!r} of {str(path)!r} is none of a convolution, norm or linear layer "
                "of an nn.Sequential"
            )
        else:
            outside[name] = f"outside of {' and '.join(prefixes)}, which alone is converted"
    return [groups[key] for key in sorted(groups)], outside


def _add(group: Group, name: str, inside: str, shapes: Mapping[str, Any]) -> None:
    """Put a tensor into its layer."""
    if inside == COUNTER:
        group.counters.append(name)
        return
    inside = _OLD.get(inside, inside)
    group.names[inside] = name
    group.shapes[inside] = tuple(shapes[name].shape)


def _chosen(path: Path, known: list[str], hints: Mapping[str, Any]) -> list[str]:
    """The prefixes of the net, in order."""
    if hints.get("prefix") is not None:
        given = hints["prefix"]
        several = given if isinstance(given, list | tuple) else [given]
        chosen = ["" if prefix is None else str(prefix) for prefix in several]
        for prefix in chosen:
            if prefix not in known:
                raise InputError(
                    f"{str(path)!r} has no layers behind the prefix {prefix!r}"
                    f"{suggestion(prefix, known)}"
                )
        return chosen
    if not known:
        raise WeightError(f"{str(path)!r} holds no layers of an nn.Sequential")
    if len(known) > 1:
        names = ",".join(known)
        raise Undetermined(
            f"{str(path)!r} holds layers behind {len(known)} prefixes; name those that are the "
            f"net, in order: --set prefix={names}"
        )
    return known
